"""An S3 server (moto) as a child process, for the local runtime and for tests.

It speaks the S3 API and keeps objects in memory (large ones in its temporary folder), so a local
archive lives as long as the server. It accepts any keys, wrong ones too: what it answers says
nothing about the keys and rights of a real store.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import ClassVar

from webevents.connectors.s3 import ObjectStore, StoreError
from webevents.errors import UserError
from webevents.local.jars import Say
from webevents.local.ports import LOOPBACK
from webevents.local.process import ServerProcess
from webevents.local.server import LocalServer
from webevents.spec.s3 import S3Spec

_LAUNCH = """\
import logging, sys
logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each request
from moto.server import main
main(sys.argv[1:])
"""


class EmbeddedS3(LocalServer):
    """One S3 server on the loopback address with a bucket; empty after every start.

    :param data_dir: see :class:`~webevents.local.server.LocalServer`, like the others; here for
        the log, temporary files and the keys that clients name
    :param bucket: made at every start
    """

    name: ClassVar[str] = "S3"
    durable: ClassVar[bool] = False
    stop_grace: ClassVar[float] = 5
    port_taken: ClassVar[re.Pattern[str]] = re.compile(r"[Aa]ddress already in use|is in use by")

    def __init__(
        self,
        data_dir: Path,
        *,
        bucket: str = "web-events",
        port: int | None = None,
        say: Say | None = None,
    ) -> None:
        super().__init__(data_dir, port=port, say=say)
        self.bucket = bucket

    @property
    def url(self) -> str:
        """The address for clients: ``http://127.0.0.1:PORT``."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def spec(self) -> S3Spec:
        """How to reach it."""
        return S3Spec(
            endpoint=self.url,
            bucket=self.bucket,
            access_key_file=str(self.data_dir / "access-key"),
            secret_key_file=str(self.data_dir / "secret-key"),
        )

    def _prepare(self) -> None:
        if importlib.util.find_spec("moto") is None:
            raise UserError(
                "The local S3 server is not installed: pip install 'webevents[local]', or name a "
                "store that is there in spec.s3.endpoint."
            )

    def _make_process(self) -> ServerProcess:
        temp_dir = self.data_dir / "tmp"
        try:
            temp_dir.mkdir(parents=True, exist_ok=True)
            for name in ("access-key", "secret-key"):
                (self.data_dir / name).write_text("local\n", encoding="utf-8")
        except OSError as error:
            raise self._unwritable(error) from error
        return ServerProcess(
            self.name,
            [sys.executable, "-c", _LAUNCH, "-H", LOOPBACK, "-p", str(self.port)],
            log_file=self.log_file,
            env={**os.environ, "TMPDIR": str(temp_dir)},
            cwd=self.data_dir,
            ready=self._is_ready,
            temp_dir=temp_dir,
        )

    def _is_ready(self) -> bool:
        """Whether it answers; makes the bucket then."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=5)
        try:
            connection.request("GET", "/moto-api/")
            if connection.getresponse().status != 200:
                return False
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        store = ObjectStore(self.spec)
        try:
            store.ensure_bucket()
        except StoreError:
            return False
        finally:
            store.close()
        return True
