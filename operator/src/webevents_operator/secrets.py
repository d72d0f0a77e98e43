"""The secrets that pipelines refer to: read by name, hashed for the pods, kept in files for the
operator's own connections."""

import base64
import binascii
import hashlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from webevents.spec.secrets import SecretRef
from webevents_operator.kinds import Object
from webevents_operator.names import Key
from webevents_operator.outcome import Blocked
from webevents_operator.status import Reason


def entries(
    refs: Iterable[SecretRef], found: Mapping[str, Object | None], namespace: str
) -> dict[SecretRef, bytes]:
    """The values that references stand for.

    :param found: the Secrets by name; None for one that is not there.
    :raises Blocked: where a Secret, or its key, is not there.
    """
    made = {}
    for ref in refs:
        secret = found.get(ref.name)
        if secret is None:
            raise Blocked(
                Reason.SECRET_MISSING,
                f"There is no Secret {namespace}/{ref.name}: make it, with the key {ref.key}",
            )
        data = secret.get("data") or {}
        if ref.key not in data:
            raise Blocked(
                Reason.SECRET_MISSING,
                f"The Secret {namespace}/{ref.name} has no key {ref.key}: add it",
            )
        try:
            made[ref] = base64.b64decode(data[ref.key] or "", validate=True)
        except binascii.Error:  # the API server does not let it through
            raise Blocked(
                Reason.SECRET_MISSING, f"The Secret {namespace}/{ref.name} is not readable"
            ) from None
    return made


def fingerprint(value: bytes) -> str:
    """Tells values apart without telling them."""
    return hashlib.blake2b(value, digest_size=16, person=b"webevents-secret").hexdigest()


class SecretFiles:
    """Secrets in files that only the operator can read.

    :param root: a folder of the operator's own.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, key: Key) -> Path:
        """Where the secrets of a pipeline are."""
        return self._root / key.namespace / key.name

    def write(self, key: Key, values: Mapping[SecretRef, bytes]) -> Path:
        """Write a pipeline's secrets; what has not changed is left alone.

        :returns: their folder.
        """
        folder = self.folder(key)
        for ref, value in values.items():
            file = folder / ref.name / ref.key
            if file.is_file() and file.read_bytes() == value:
                continue
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = file.with_name(f".{file.name}.new")
            new.touch(mode=0o600)
            new.write_bytes(value)
            new.replace(file)
        return folder

    def forget(self, key: Key) -> None:
        """Remove a pipeline's secrets."""
        shutil.rmtree(self.folder(key), ignore_errors=True)
