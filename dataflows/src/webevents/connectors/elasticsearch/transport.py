"""The official client's transport, with secrets and certificates that may change while it runs."""

import base64
import os
from pathlib import Path
from typing import Any

from elastic_transport import ConnectionError as NoAnswer
from elastic_transport import (
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
    TlsError,
    Transport,
    TransportApiResponse,
    Urllib3HttpNode,
)

from webevents.errors import UserError
from webevents.spec.elasticsearch import ElasticsearchSpec


class Credentials:
    """The Authorization header; a secret's file is read again when it has changed.

    :param spec: names the files or environment variables.
    :raises UserError: when a secret cannot be read.
    """

    def __init__(self, spec: ElasticsearchSpec) -> None:
        self._spec = spec
        file = spec.password_file or spec.api_key_file
        self._file = Path(file) if file else None
        self._stamp: tuple[int, int, int] | None = None
        self._header = self._read()

    def header(self) -> str | None:
        """The header's value, None without authentication.

        While a file is being replaced, the secret that was read last stays in use.
        """
        if self._file is not None:
            try:
                if self._look() != self._stamp:
                    self._header = self._read()
            except (OSError, UserError):
                pass
        return self._header

    def _look(self) -> tuple[int, int, int]:
        assert self._file
        status = self._file.stat()
        return status.st_mtime_ns, status.st_ino, status.st_size

    def _read(self) -> str | None:
        spec = self._spec
        if self._file is not None:
            field = "passwordFile" if spec.password_file else "apiKeyFile"
            try:
                stamp = self._look()
                secret = self._file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(
                    f"spec.elasticsearch.{field}: {self._file} cannot be read: "
                    f"{getattr(error, 'strerror', None) or 'it is no text'}"
                ) from None
            if not secret:
                raise UserError(f"spec.elasticsearch.{field}: {self._file} is empty")
            self._stamp = stamp
        else:
            name = spec.password_env or spec.api_key_env
            if name is None:
                return None
            secret = os.environ.get(name, "").strip()
            if not secret:
                field = "passwordEnv" if spec.password_env else "apiKeyEnv"
                raise UserError(
                    f"spec.elasticsearch.{field}: the environment variable {name} is not set"
                )
        if spec.username is None:
            return f"ApiKey {secret}"
        pair = base64.b64encode(f"{spec.username}:{secret}".encode()).decode()
        return f"Basic {pair}"


class ReloadingNode(Urllib3HttpNode):
    """A node whose certificates are read again after a TLS error, as after their rotation."""

    def perform_request(self, *args: Any, **kwargs: Any) -> Any:
        """Send one request.

        :raises elastic_transport.TlsError: the next request then uses the files as they are.
        """
        try:
            return super().perform_request(*args, **kwargs)
        except TlsError:
            self._reload(self.config)
            raise

    def _reload(self, config: NodeConfig) -> None:
        try:
            pool = Urllib3HttpNode(config).pool
        except (OSError, ValueError):  # half-written files: keep what there is
            return
        self.pool, old = pool, self.pool
        old.close()


class ReloadingTransport(Transport):
    """Adds the credentials of the moment to every request."""

    credentials: Credentials | None = None
    request_timeout_s: float = 30.0
    product: str = "Elasticsearch"
    """What answers, for people. These are set by
    :func:`webevents.connectors.elasticsearch.connect`."""

    def perform_request(
        self, method: str, target: str, *, headers: Any = None, **kwargs: Any
    ) -> TransportApiResponse:
        """Send a request as :class:`elastic_transport.Transport` does."""
        return super().perform_request(
            method, target, headers={**(headers or {}), **self._authorization()}, **kwargs
        )

    def post(self, target: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Post bytes once to the next node, without decoding the answer.

        :returns: status and body of the answer, whatever the status.
        :raises elastic_transport.TransportError: when there was no answer.
        """
        node = self.node_pool.get()
        try:
            answer = node.perform_request(
                "POST",
                target,
                body=body,
                headers=HttpHeaders({**headers, **self._authorization()}),
                request_timeout=self.request_timeout_s,
            )
        except (NoAnswer, ConnectionTimeout):
            self.node_pool.mark_dead(node)
            raise
        if answer.meta.status in (502, 503, 504):
            self.node_pool.mark_dead(node)
        else:
            self.node_pool.mark_live(node)
        return answer.meta.status, answer.body

    def _authorization(self) -> dict[str, str]:
        header = self.credentials.header() if self.credentials else None
        return {"authorization": header} if header else {}
