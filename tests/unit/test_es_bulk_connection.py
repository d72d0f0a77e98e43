"""The connection: credentials, certificates and errors that say what to do.

The server is a real HTTP server that plays answers, because the embedded Elasticsearch has no
security.
"""

import gc
import json
import shutil
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from webevents.connectors.elasticsearch import (
    Backoff,
    BulkWriter,
    Unreachable,
    connect,
    count,
)
from webevents.errors import UserError
from webevents.local.ports import free_port
from webevents.logic.documents import Document
from webevents.spec.elasticsearch import ElasticsearchSpec


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status = 200
    seen: list[str | None]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.seen.append(self.headers["authorization"])
        body = json.dumps({"count": 3, "errors": False, "items": []}).encode()
        if self.status != 200:
            error = {"type": "some_exception", "reason": "some reason"}
            body = json.dumps({"error": error, "status": self.status}).encode()
        self.send_response(self.status)
        self.send_header("content-type", "application/json")
        self.send_header("x-elastic-product", "Elasticsearch")
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        pass


class Server:
    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.seen: list[str | None] = []
        self.handler = type("Handler", (_Handler,), {"seen": self.seen})
        self.server = ThreadingHTTPServer(("127.0.0.1", port), self.handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if tls:
            self.server.socket = tls.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self.server.server_port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def spec_of(server: Server, **more: Any) -> ElasticsearchSpec:
    return ElasticsearchSpec.model_validate({"urls": [server.url], **more})


def test_without_credentials(server: Server) -> None:
    assert count(connect(spec_of(server)), "i-*") == 3
    assert server.seen == [None]


def test_credentials_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_PASSWORD", "pässword")
    monkeypatch.setenv("ES_KEY", "a2V5")
    count(connect(spec_of(server, username="u", passwordEnv="ES_PASSWORD")), "i")
    count(connect(spec_of(server, apiKeyEnv="ES_KEY")), "i")
    assert server.seen == ["Basic dTpww6Rzc3dvcmQ=", "ApiKey a2V5"]


def test_a_changed_file_is_read_again(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("one\n")
    client = connect(spec_of(server, apiKeyFile=str(file)))
    count(client, "i")
    file.write_text("three")
    count(client, "i")
    file.unlink()  # while it is being replaced
    count(client, "i")
    file.write_text("")
    count(client, "i")
    file.write_text("four")
    count(client, "i")
    assert server.seen == [f"ApiKey {key}" for key in ("one", "three", "three", "three", "four")]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"apiKeyFile": "/nowhere/key"}, r"apiKeyFile: /nowhere/key cannot be read"),
        ({"username": "u", "passwordFile": "/nowhere/p"}, "passwordFile: /nowhere/p cannot"),
        ({"apiKeyEnv": "NO_SUCH_VARIABLE"}, "apiKeyEnv: the environment variable NO_SUCH_VARIABLE"),
    ],
)
def test_secrets_that_are_missing(server: Server, given: dict[str, str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        connect(spec_of(server, **given))


def test_no_urls() -> None:
    with pytest.raises(UserError, match="urls is not set"):
        connect(ElasticsearchSpec())


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (401, UserError, "refuses the credentials"),
        (403, UserError, "does not permit"),
        (429, Unreachable, "not ready"),
        (503, Unreachable, "not ready"),
        (400, UserError, "status 400.*some reason"),
    ],
)
def test_errors_say_what_to_do(
    server: Server, status: int, kind: type[UserError], says: str
) -> None:
    server.handler.status = status  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=says) as caught:
        count(connect(spec_of(server)), "i")
    assert type(caught.value) is kind


def test_another_product_is_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        server.handler,
        "send_header",
        lambda self, name, value: (
            None
            if name == "x-elastic-product"
            else BaseHTTPRequestHandler.send_header(self, name, value)
        ),
    )
    with pytest.raises(UserError, match=r"is not Elasticsearch: .*engine to opensearch"):
        count(connect(spec_of(server)), "i")


def test_elasticsearch_in_place_of_opensearch_is_named(server: Server) -> None:
    with pytest.raises(UserError, match=r"is not OpenSearch: .*engine to elasticsearch"):
        count(connect(spec_of(server, engine="opensearch")), "i")


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, with its key."""
    folder.mkdir()
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        f"-subj /CN={name} -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {cert}",
        shell=True,
        check=True,
        capture_output=True,
    )
    return cert, key


needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")


def serving(cert: Path, key: Path, clients: Path | None = None, port: int = 0) -> Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    if clients:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return Server(context, port)


@needs_openssl
def test_tls(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path / "server", "server")
    other, _ = certificate(tmp_path / "other", "other")
    client_cert, client_key = certificate(tmp_path / "client", "client")
    server = serving(cert, key)
    strict = serving(cert, key, clients=client_cert)
    try:
        assert count(connect(spec_of(server, tls={"caFile": str(cert)})), "i") == 3
        assert count(connect(spec_of(server, tls={"verify": False})), "i") == 3
        for untrusted in ({"tls": {"caFile": str(other)}}, {}):
            with pytest.raises(Unreachable, match="caFile"):
                count(connect(spec_of(server, **untrusted)), "i")
        mutual = {"caFile": str(cert), "certFile": str(client_cert), "keyFile": str(client_key)}
        assert count(connect(spec_of(strict, tls=mutual)), "i") == 3
        with pytest.raises(Unreachable):
            count(connect(spec_of(strict, tls={"caFile": str(cert)})), "i")
    finally:
        server.close()
        strict.close()
    for files, says in [
        ({"caFile": "/nowhere/ca.pem"}, "caFile cannot be used: No such file"),
        ({"caFile": str(key)}, "caFile cannot be used"),
        ({"certFile": str(cert), "keyFile": str(client_key)}, "certFile and keyFile cannot"),
    ]:
        with pytest.raises(UserError, match=says):
            connect(spec_of(server, tls=files))


@needs_openssl
def test_a_rotated_authority_is_taken_up(tmp_path: Path) -> None:
    """The server comes back with a new certificate; the file of its authority changes later."""
    old, old_key = certificate(tmp_path / "old", "old")
    new, new_key = certificate(tmp_path / "new", "new")
    trusted = tmp_path / "ca.pem"
    shutil.copy(old, trusted)
    server = serving(old, old_key)
    writer = BulkWriter(
        connect(spec_of(server, tls={"caFile": str(trusted)})), backoff=Backoff(0.005, 0.02)
    )
    try:
        assert writer.submit([Document("i", "1", b"{}")]).result(5).accepted == 1
        server.close()
        server = serving(new, new_key, port=server.port)
        handle = writer.submit([Document("i", "2", b"{}")])
        deadline = time.monotonic() + 10
        while writer.outage is None or "TlsError" not in writer.outage.error:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        shutil.copy(new, trusted)
        assert handle.result(5).accepted == 1
    finally:
        writer.close()
        server.close()


def test_requests_that_were_in_vain_do_not_pile_up() -> None:
    """The client's errors hold the request in a cycle, and workers collect those rarely."""
    client = connect(ElasticsearchSpec(urls=(f"http://127.0.0.1:{free_port()}",)))
    writer = BulkWriter(client, max_in_flight=1, backoff=Backoff(0.001, 0.001))
    body = b'{"a":"' + b"x" * 100_000 + b'"}'

    def traced_after(attempts: int) -> int:
        deadline = time.monotonic() + 30
        while (writer.outage.attempts if writer.outage else 0) < attempts:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return tracemalloc.get_traced_memory()[0]

    gc.disable()
    tracemalloc.start()
    try:
        writer.submit([Document("i", str(number), body) for number in range(20)])
        early = traced_after(5)
        assert traced_after(35) - early < 10_000_000  # 2 MB an attempt
    finally:
        tracemalloc.stop()
        gc.enable()
        writer.close()
        client.close()
