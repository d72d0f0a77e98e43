"""A certificate authority of a test, the files that clients need, and TLS in front of servers."""

import contextlib
import selectors
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class TlsLab:
    """Files of a certificate authority and of secrets.

    :param secrets: written to files named as they are, with dashes.
    """

    def __init__(self, folder: Path, **secrets: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(self.file("ca.pem"))
        self.stranger = trustme.CA()
        self.stranger.cert_pem.write_to_path(self.file("stranger.pem"))
        self.issue("client")
        for name, text in secrets.items():
            Path(self.file(name.replace("_", "-"))).write_text(text + "\n")

    def issue(self, name: str) -> None:
        """A client's certificate and key, in files ``NAME.pem`` and ``NAME.key``; its subject's
        common name is NAME."""
        made = self.authority.issue_cert(f"{name}@example.com", common_name=name)
        made.private_key_pem.write_to_path(self.file(f"{name}.key"))
        made.cert_chain_pems[0].write_to_path(self.file(f"{name}.pem"))

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def server_files(self) -> tuple[Path, Path]:
        """Certificate chain and key of a server on 127.0.0.1."""
        made, folder = self.authority.issue_cert("127.0.0.1"), self.folder
        made.private_key_pem.write_to_path(folder / "server.key")
        (folder / "server.key").chmod(0o600)
        (folder / "server.pem").write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
        return folder / "server.pem", folder / "server.key"

    def scram_settings(self) -> dict[str, str]:
        """Settings of a broker whose clients log in by SCRAM over TLS."""
        return {
            **self.broker_settings(**{"scram-sha-512.sasl.jaas.config": SCRAM_LOGIN}),
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        }

    def broker_settings(self, **more: str) -> dict[str, str]:
        """Settings of a broker with TLS; ``more`` are its clients' listener's."""
        server = self.authority.issue_cert("127.0.0.1")
        prefix = "listener.name.client."
        return {
            f"{prefix}ssl.keystore.type": "PEM",
            f"{prefix}ssl.keystore.key": _pkcs8(server.private_key_pem.bytes()),
            f"{prefix}ssl.keystore.certificate.chain": b"".join(
                pem.bytes() for pem in server.cert_chain_pems
            ).decode(),
            f"{prefix}ssl.truststore.type": "PEM",
            f"{prefix}ssl.truststore.certificates": self.authority.cert_pem.bytes().decode(),
            **{f"{prefix}{name}": value for name, value in more.items()},
        }


def _pkcs8(key: bytes) -> str:
    """A key in the only form that Kafka reads."""
    read = serialization.load_pem_private_key(key, None)
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return read.private_bytes(serialization.Encoding.PEM, form, plain).decode()


@contextlib.contextmanager
def tls_in_front(port: int, authority: trustme.CA) -> Iterator[int]:
    """Speak TLS for a server of this machine that does not; the port to connect to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, context, port), daemon=True).start()
        yield listener.getsockname()[1]


def _accept(listener: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with contextlib.suppress(OSError):  # the listener is closed
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_forward, args=(client, context, port), daemon=True).start()


def _forward(client: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port)) as server,
        context.wrap_socket(client, server_side=True) as secured,
        selectors.DefaultSelector() as ready,
    ):
        ready.register(secured, selectors.EVENT_READ, server)
        ready.register(server, selectors.EVENT_READ, secured)
        while True:
            for key, _ in ready.select():
                source, target = key.fileobj, key.data
                data = source.recv(65_536)  # type: ignore[union-attr]
                while isinstance(source, ssl.SSLSocket) and source.pending():
                    data += source.recv(65_536)
                if not data:
                    return
                target.sendall(data)
