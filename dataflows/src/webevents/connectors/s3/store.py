"""One bucket of an object store, with keys that may change while it runs."""

import io
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import boto3  # type: ignore[import-untyped]
from boto3.exceptions import Boto3Error  # type: ignore[import-untyped]
from boto3.s3.transfer import TransferConfig  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from webevents.errors import UserError
from webevents.spec.s3 import S3Spec

PART_BYTES = 16_777_216
"""Size of a part of a multipart upload, and the size from which uploads have parts; S3 takes parts
from 5 MiB."""
_DELETE_AT_ONCE = 1000
"""Objects of one delete request (a limit of the S3 API)."""
Result = TypeVar("Result")


class StoreError(Exception):
    """The object store did not do what was asked; trying again may help.

    :param code: S3's error code (such as NoSuchBucket), or the kind of error without an answer.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code

    @property
    def absent(self) -> bool:
        """Whether the object (not the bucket) is not there."""
        return self.code in ("NoSuchKey", "404")

    @property
    def needs_a_person(self) -> bool:
        """Whether keys, rights or the bucket must be put right before trying again can help."""
        return self.code in _FOR_A_PERSON


_FOR_A_PERSON = {
    "AccessDenied",
    "InvalidAccessKeyId",
    "NoCredentialsError",
    "NoSuchBucket",
    "PermanentRedirect",
    "SignatureDoesNotMatch",
    "SSLError",
}


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as a listing shows it."""

    key: str
    size: int
    etag: str
    """Changes with the content."""


class ObjectStore:
    """The bucket of a specification; may be used by several threads.

    :param spec: with ``endpoint`` filled in.
    :raises UserError: when the endpoint is not set, or a file or variable cannot be read.
    """

    def __init__(self, spec: S3Spec) -> None:
        if not spec.endpoint:
            raise UserError("spec.s3.endpoint is not set: name the service as https://host")
        if spec.tls and spec.tls.ca_file and not Path(spec.tls.ca_file).is_file():
            raise UserError(f"spec.s3.tls.caFile: {spec.tls.ca_file} cannot be read")
        self._spec = spec
        self.bucket = spec.bucket
        self._lock = threading.Lock()
        self._stamp = _look(spec)
        self._client: Any = _make_client(spec)

    def put(
        self, key: str, body: bytes, content_type: str, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write an object, in parts where it is large; it appears whole or not at all.

        :raises StoreError: when it could not be written.
        """
        extra = {"ContentType": content_type, "Metadata": dict(metadata or {})}
        # One thread: whoever uploads several objects at once has threads of their own.
        how = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False
        )
        self._do(
            lambda client: client.upload_fileobj(
                io.BytesIO(body), self.bucket, key, ExtraArgs=extra, Config=how
            )
        )

    def get(self, key: str) -> tuple[bytes, str]:
        """Read an object: its bytes and its ETag.

        :raises StoreError: with ``absent`` where it is not there.
        """

        def read(client: Any) -> tuple[bytes, str]:
            answer = client.get_object(Bucket=self.bucket, Key=key)
            return answer["Body"].read(), _plain(answer["ETag"])

        return self._do(read)

    def etag(self, key: str) -> str | None:
        """The ETag of an object as it is now; None where it is not there.

        :raises StoreError: when the store does not tell.
        """
        try:
            answer = self._do(lambda client: client.head_object(Bucket=self.bucket, Key=key))
        except StoreError as error:
            if error.absent:
                return None
            raise
        return _plain(answer["ETag"])

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """The objects whose names begin with a prefix, in the order of their names.

        :param after: only names behind this one.
        :raises StoreError: when the store does not tell.
        """
        token: str | None = None
        while True:
            asked = {"Bucket": self.bucket, "Prefix": prefix, "StartAfter": after}
            if token is not None:
                asked["ContinuationToken"] = token
            page = self._page(asked)
            for entry in page.get("Contents", ()):
                yield StoredObject(entry["Key"], entry["Size"], _plain(entry["ETag"]))
            token = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or token is None:
                return

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are not there are passed over.

        :raises StoreError: when one could not be removed.
        """
        for start in range(0, len(keys), _DELETE_AT_ONCE):
            batch = [{"Key": key} for key in keys[start : start + _DELETE_AT_ONCE]]
            asked = {"Objects": batch, "Quiet": True}
            answer = self._delete(asked)
            for fault in answer.get("Errors", ()):
                raise StoreError(str(fault.get("Code")), f"not removed: {fault.get('Code')}")

    def ensure_bucket(self) -> None:
        """Make the bucket where it is not there.

        :raises StoreError: when it can neither be found nor made.
        """
        try:
            self._do(lambda client: client.head_bucket(Bucket=self.bucket))
        except StoreError as error:
            if error.code not in ("404", "NoSuchBucket"):
                raise
            self._do(lambda client: client.create_bucket(Bucket=self.bucket))

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _page(self, asked: Mapping[str, str]) -> Any:
        return self._do(lambda client: client.list_objects_v2(**asked))

    def _delete(self, asked: Mapping[str, Any]) -> Any:
        return self._do(lambda client: client.delete_objects(Bucket=self.bucket, Delete=asked))

    def _do(self, act: Callable[[Any], Result]) -> Result:
        try:
            return act(self._current())
        except ClientError as error:
            # The answer's code and no more: messages may repeat names and keys.
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            raise StoreError(code, f"{code} (status {status}) of {error.operation_name}") from None
        except (BotoCoreError, Boto3Error, OSError) as error:
            cause = error.__cause__ or error.__context__
            if isinstance(cause, ClientError):  # the transfer's own wrapping
                code = str(cause.response.get("Error", {}).get("Code", "unknown"))
                raise StoreError(code, f"{code} of {cause.operation_name}") from None
            kind = type(error).__name__
            raise StoreError(kind, f"{kind}: {error}"[:300]) from None

    def _current(self) -> Any:
        """The client with the keys of the moment; a key file is read again when it has changed."""
        if not (self._spec.access_key_file or self._spec.secret_key_file):
            return self._client
        with self._lock:
            try:
                stamp = _look(self._spec)
                if stamp != self._stamp:
                    # Requests of other threads that are under way keep the old client alive.
                    self._client, self._stamp = _make_client(self._spec), stamp
            except (OSError, UserError):
                pass  # while the files are being replaced, the keys read last stay in use
            return self._client


def _plain(etag: str) -> str:
    return etag.strip('"')


def _look(spec: S3Spec) -> tuple[tuple[int, int, int], ...]:
    """What tells a changed key file from the one that was read."""
    found = []
    for file in (spec.access_key_file, spec.secret_key_file):
        if file:
            try:
                status = Path(file).stat()
            except OSError as error:
                raise UserError(f"spec.s3: {file} cannot be read: {error.strerror}") from None
            found.append((status.st_mtime_ns, status.st_ino, status.st_size))
    return tuple(found)


def _make_client(spec: S3Spec) -> Any:
    access = _secret("accessKey", spec.access_key_file, spec.access_key_env)
    secret = _secret("secretKey", spec.secret_key_file, spec.secret_key_env)
    timeout_s = spec.request_timeout.total_seconds()
    verify: bool | str | None = None
    if spec.tls is not None:
        verify = spec.tls.ca_file or spec.tls.verify
    config = Config(
        connect_timeout=min(10.0, timeout_s),
        read_timeout=timeout_s,
        # Whoever calls tries again; one repetition here spares it a connection that went stale.
        retries={"total_max_attempts": 2, "mode": "standard"},
        s3={"addressing_style": "path" if spec.path_style else "virtual"},
        # Other stores than AWS mostly do not know the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        max_pool_connections=32,
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=spec.endpoint,
        region_name=spec.region,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        verify=verify,
        config=config,
    )


def _secret(field: str, file: str | None, env: str | None) -> str | None:
    if file is None and env is None:
        return None
    try:
        value = Path(file).read_text(encoding="utf-8") if file else os.environ.get(env or "", "")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UserError(f"spec.s3.{field}File: {file} cannot be read: {reason}") from None
    if not value.strip():
        where = f"File: {file} is empty" if file else f"Env: {env} is not set"
        raise UserError(f"spec.s3.{field}{where}")
    return value.strip()
