"""The embedded servers do their work, keep their data, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from webevents.errors import UserError
from webevents.local.elasticsearch_server import EmbeddedElasticsearch
from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.ports import is_listening

pytestmark = pytest.mark.integration


def test_kafka_carries_messages(kafka: str) -> None:
    topic = make_topic(kafka)
    produce(kafka, topic, b"one", b"two")
    assert consume(kafka, topic, 2) == [b"one", b"two"]


def test_kafka_transactions_commit_and_abort(kafka: str) -> None:
    topic = make_topic(kafka)
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": f"t-{uuid.uuid4()}"})
    producer.init_transactions(30)
    for value, commit in ((b"aborted", False), (b"committed", True)):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(10)
        if commit:
            producer.commit_transaction(10)
        else:
            producer.abort_transaction(10)
    assert consume(kafka, topic, 1) == [b"committed"]


def test_kafka_makes_no_topic_by_itself(kafka: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    name = f"absent-{uuid.uuid4()}"
    admin.list_topics(name, timeout=10)
    assert name not in admin.list_topics(timeout=10).topics


def test_kafka_takes_large_messages_where_a_topic_allows_them(kafka: str) -> None:
    topic = make_topic(kafka, config={"max.message.bytes": "11000000"})
    big = b"x" * 10_000_000
    produce(kafka, topic, big)
    assert consume(kafka, topic, 1) == [big]


def test_elasticsearch_indexes_documents(elasticsearch: str) -> None:
    index = f"test-{uuid.uuid4()}"
    call(elasticsearch, "PUT", f"/{index}/_doc/1?refresh=true", {"page": "/home"})
    answer = call(elasticsearch, "GET", f"/{index}/_search?q=page:home")
    assert [hit["_id"] for hit in answer["hits"]["hits"]] == ["1"]


def test_kafka_keeps_data_over_a_crash_and_a_stop(
    kafka_server: Callable[..., EmbeddedKafka],
) -> None:
    server = kafka_server()
    bootstrap = server.bootstrap
    topic = make_topic(bootstrap)
    produce(bootstrap, topic, b"before the crash")
    server.kill()
    server.start()
    assert server.bootstrap == bootstrap
    produce(bootstrap, topic, b"before the stop")
    server.stop()
    server.start()
    assert consume(bootstrap, topic, 2) == [b"before the crash", b"before the stop"]


def test_elasticsearch_keeps_data_over_a_crash(
    elasticsearch_server: Callable[..., EmbeddedElasticsearch],
) -> None:
    server = elasticsearch_server()
    call(server.url, "PUT", "/kept/_doc/1", {"n": 1})
    server.kill()
    server.start()
    wait_until(lambda: call(server.url, "GET", "/kept/_doc/1").get("found") is True, "the document")


def test_a_stop_leaves_no_process_and_no_port(
    kafka_server: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    server = kafka_server(data_dir=tmp_path / "k")
    pid, port = server.pid, server.port
    assert pid is not None
    assert is_listening(port)
    server.stop()
    assert not server.alive
    assert not exists(pid)
    assert not is_listening(port)
    assert not (tmp_path / "k" / "tmp").exists()


def test_a_second_server_on_the_same_folder_is_refused(
    kafka_server: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    first = kafka_server(data_dir=tmp_path / "k")
    with pytest.raises(UserError, match=r"Kafka cannot start: another process uses .*/k"):
        kafka_server(data_dir=tmp_path / "k")
    topic = make_topic(first.bootstrap)
    produce(first.bootstrap, topic, b"still at work")


def test_a_wrong_setting_shows_the_log(kafka_server: Callable[..., EmbeddedKafka]) -> None:
    with pytest.raises(UserError, match=r"(?s)Kafka ended while starting.*log\.segment\.bytes"):
        kafka_server(extra={"log.segment.bytes": "many"})


def test_kafka_refuses_a_wrong_password(kafka_server: Callable[..., EmbeddedKafka]) -> None:
    mechanism = "SCRAM-SHA-512"
    server = kafka_server(
        protocol="SASL_PLAINTEXT",
        format_arguments=("--add-scram", f"{mechanism}=[name=ann,password=right]"),
        extra={
            "sasl.enabled.mechanisms": mechanism,
            "listener.name.client.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
        },
    )
    client = {
        "bootstrap.servers": server.bootstrap,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.username": "ann",
    }
    assert AdminClient({**client, "sasl.password": "right"}).list_topics(timeout=20).brokers
    with pytest.raises(KafkaException):
        AdminClient({**client, "sasl.password": "wrong"}).list_topics(timeout=2)


def test_servers_die_with_a_killed_parent(tmp_path: Path, kafka: str) -> None:
    code = f"""
import sys, time
from pathlib import Path
from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.servers import start_servers
server = EmbeddedKafka(Path({str(tmp_path)!r}))
start_servers(server)
print(server.pid, server.port, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        pid, port = map(int, parent.stdout.readline().split())
        # The thread that started it has ended by now, which must not have killed it.
        time.sleep(0.5)
        assert is_listening(port)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait_until(lambda: not exists(pid), "the server's end")
        # Its first thread may be gone a moment before the others, which still hold the port.
        wait_until(lambda: not is_listening(port), "free port")
    finally:
        parent.kill()
        parent.communicate()


def make_topic(bootstrap: str, config: dict[str, str] | None = None) -> str:
    name = f"test-{uuid.uuid4()}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topic = NewTopic(name, num_partitions=1, replication_factor=1, config=config or {})
    admin.create_topics([topic])[name].result(30)
    return name


def produce(bootstrap: str, topic: str, *values: bytes) -> None:
    failures: list[Any] = []
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 12_000_000})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(30) == 0
    assert failures == [None] * len(values)


def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """``count`` messages from the beginning, and none after them."""
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": str(uuid.uuid4()),
        "isolation.level": "read_committed",
    }
    consumer = Consumer(settings)
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        values: list[bytes] = []
        deadline = time.monotonic() + 30
        while len(values) < count and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None:
                assert message.error() is None
                values.append(message.value() or b"")
        assert consumer.poll(0.5) is None
        return values
    finally:
        consumer.close()


def call(url: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed process stays a zombie until its new parent reaps it.
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)
