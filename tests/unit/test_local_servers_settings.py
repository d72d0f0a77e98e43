"""Ports, property files, and what servers say that cannot start; a script stands in for Java."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webevents.errors import UserError
from webevents.local import embedded, kafka_server
from webevents.local.java import Jdk
from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.ports import free_port, is_listening, port_like, require_free
from webevents.local.properties import write_properties
from webevents.local.servers import start_servers


def read_property(text: str) -> tuple[str, str]:
    """One line as java.util.Properties.load reads it."""
    name, _, raw = text.rstrip("\n").partition("=")
    raw = raw.lstrip(" \t\f")
    value, units = "", raw
    while units:
        if units[0] != "\\":
            value, units = value + units[0], units[1:]
        elif units[1] == "u":
            value, units = value + chr(int(units[2:6], 16)), units[6:]
        else:
            value += {"n": "\n", "r": "\r", "t": "\t"}.get(units[1], units[1])
            units = units[2:]
    return name, value.encode("utf-16", "surrogatepass").decode("utf-16")


@given(value=st.text())
def test_a_property_is_read_back(value: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "one.properties"
    write_properties(path, {"log.dirs": value})
    content = path.read_bytes().decode("ascii")
    if "\f" not in value:
        assert read_property(content) == ("log.dirs", value)


def test_free_ports_differ_and_can_be_bound() -> None:
    ports = {free_port() for _ in range(50)}
    assert len(ports) == 50
    for port in ports:
        assert require_free(port, "Kafka") == port


def test_a_port_by_name_goes_to_one_of_two_processes_that_choose_at_once() -> None:
    wanted = free_port_of_another_process()
    choose = (
        "from webevents.local.ports import port_like\n"
        f"print(port_like({wanted}), flush=True)\n"
        "input()\n"  # holds it, unbound, as a run does whose workload has just been started
    )
    with subprocess.Popen(
        [sys.executable, "-c", choose], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout and int(other.stdout.readline()) == wanted
        assert port_like(wanted) != wanted
        other.communicate("\n")
    assert port_like(wanted) == wanted, "a process that has ended holds none"
    assert port_like(wanted) != wanted, "a second workload of this process"


def free_port_of_another_process() -> int:
    """One that this process has not given to itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert is_listening(port)
        with pytest.raises(
            UserError, match=rf"^Port {port} for Kafka is taken by another program: .*\.$"
        ):
            require_free(port, "Kafka")


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_out_of_range(port: int) -> None:
    with pytest.raises(UserError, match=r"choose one from 1 to 65535"):
        require_free(port, "Kafka")


@pytest.fixture
def java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for ``java``, a shell script; nothing is fetched or compiled."""
    monkeypatch.setattr(embedded, "ensure_jars", lambda *_a, **_k: {"kafka": []})
    monkeypatch.setattr(kafka_server, "launcher_jar", lambda *_a: tmp_path / "launcher.jar")
    program = tmp_path / "jdk" / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    return program


def make_kafka(tmp_path: Path, java: Path, script: str, port: int | None = None) -> EmbeddedKafka:
    java.write_text(f"#!/bin/sh\n{script}\n")
    jdk = Jdk(java.parent.parent, 25, "25", frozenset())
    return EmbeddedKafka(tmp_path / "data", port=port, cache=tmp_path / "cache", jdk=jdk)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("java.io.IOException: No space left on device", r"the disk of .*data is full: free"),
        ("java.lang.OutOfMemoryError: Java heap space", r"256 MB of heap"),
        ("strange", r"(?s)exit code 1.*strange.*The whole log: .*kafka\.log"),
    ],
)
def test_a_failed_start_says_why(tmp_path: Path, java: Path, line: str, text: str) -> None:
    with pytest.raises(UserError, match=text):
        make_kafka(tmp_path, java, f"echo '{line}'; exit 1").start()


def test_a_port_that_was_taken_meanwhile_is_replaced(tmp_path: Path, java: Path) -> None:
    script = f"echo x >> {tmp_path}/starts; echo 'BindException: Address already in use'; exit 1"
    with pytest.raises(UserError):
        make_kafka(tmp_path, java, script).start()
    assert (tmp_path / "starts").read_text() == "x\n" * 3


def test_an_asked_port_that_is_taken_starts_nothing(tmp_path: Path, java: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        kafka = make_kafka(tmp_path, java, f"touch {tmp_path}/started", port)
        with pytest.raises(UserError, match=f"Port {port} for Kafka is taken"):
            kafka.start()
    assert not (tmp_path / "started").exists()
    assert kafka.port == port


def test_extra_settings_win_and_the_data_folder_may_have_any_name(
    tmp_path: Path, java: Path
) -> None:
    java.write_text("#!/bin/sh\nexit 1\n")
    kafka = EmbeddedKafka(
        tmp_path / "Zoë's data",
        extra={"log.retention.ms": "5000", "sasl.enabled.mechanisms": "PLAIN"},
        cache=tmp_path / "cache",
        jdk=Jdk(java.parent.parent, 25, "25", frozenset()),
    )
    with pytest.raises(UserError):
        kafka.start()
    text = (tmp_path / "Zoë's data" / "config" / "server.properties").read_text("ascii")
    settings = dict(read_property(line) for line in text.splitlines())
    assert settings["log.retention.ms"] == "5000"
    assert settings["sasl.enabled.mechanisms"] == "PLAIN"
    assert settings["log.dirs"] == str(tmp_path / "Zoë's data" / "data")


def test_when_one_fails_the_others_are_stopped(
    tmp_path: Path, java: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webevents.local.servers.ensure_jars", lambda *_a, **_k: {})
    monkeypatch.setattr("webevents.local.servers.find_jdk", lambda: None)
    monkeypatch.setattr(EmbeddedKafka, "_is_ready", lambda _self: True)
    good = make_kafka(tmp_path, java, "exec sleep 600")
    other = tmp_path / "other" / "bin" / "java"
    other.parent.mkdir(parents=True)
    other.touch(mode=0o755)
    bad = make_kafka(tmp_path / "other", other, "sleep 0.3; exit 1")
    monkeypatch.setattr(bad, "_is_ready", lambda: False)
    with pytest.raises(UserError, match="ended while starting"):
        start_servers(good, bad)
    assert good.pid is not None
    assert not good.alive
