"""The archive stage on a real broker and an S3 server: every message once, through kills, outages
and rebalances; and the store's own ways (parts, changed keys, what it refuses)."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from webevents.connectors.kafka import client_config, ensure_topics
from webevents.connectors.kafka_observe import GroupView, Observer
from webevents.connectors.s3 import ObjectStore, StoreError, Uploader
from webevents.errors import UserError
from webevents.local.s3_server import EmbeddedS3
from webevents.logic.objects import ObjectName, Replayed, read_object
from webevents.plan.make import make_plan
from webevents.plan.model import Workload
from webevents.spec.load import parse_pipeline
from webevents.spec.s3 import S3Spec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PARTITIONS = 3


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedS3]:
    with EmbeddedS3(tmp_path_factory.mktemp("s3"), bucket="lake") as server:
        yield server


class Lab:
    """One raw topic, an archive stage, and the messages that were sent."""

    def __init__(self, bootstrap: str, s3: S3Spec, folder: Path, archive: dict[str, Any]) -> None:
        self.name = f"t{uuid.uuid4().hex[:8]}"
        document = {
            "apiVersion": "webevents.dev/v1alpha1",
            "kind": "WebEventPipeline",
            "metadata": {"name": self.name},
            "spec": {
                "kafka": {"bootstrapServers": bootstrap},
                "topics": {
                    which: {"name": f"{self.name}-{which}", "partitions": PARTITIONS}
                    for which in ("raw", "enriched", "sessions", "failed")
                },
                "index": {"enabled": False},
                "s3": s3.model_dump(mode="json", by_alias=True, exclude_none=True),
                "archive": {"enabled": True, "interval": "1s", **archive},
            },
        }
        plan = make_plan(parse_pipeline(document, "test"))
        self.workload: Workload = next(w for w in plan.workloads if w.name == "archive")
        self.topic = f"{self.name}-raw"
        self.root = f"raw/{self.name}"
        self.config = client_config(parse_pipeline(document, "test").spec.kafka)
        ensure_topics(AdminClient(self.config), plan.topics)
        self.observer = Observer(self.config)
        self.store = ObjectStore(s3)
        self.folder = folder
        self.settings = folder / f"{self.name}.json"
        self.settings.write_text(self.workload.settings.model_dump_json(by_alias=True))
        self.workers: list[subprocess.Popen[bytes]] = []
        self.sent: set[tuple[int, int, bytes | None, bytes | None]] = set()

    def produce(self, count: int, size: int = 300) -> None:
        """Send messages of any bytes, some of them without key or value."""
        rng = Random(len(self.sent))
        producer = Producer(self.config | {"linger.ms": 5})

        def on_delivery(error: Any, message: Any) -> None:
            assert error is None
            where = (message.partition(), message.offset())
            self.sent.add((*where, message.key(), message.value()))

        for number in range(count):
            key = None if number % 50 == 0 else b"user-%d" % rng.randrange(40)
            value: bytes | None = b'{"n":%d,"pad":"%s"}' % (number, b"p" * rng.randrange(size))
            if number % 97 == 0:
                value = rng.choice((None, b"", b"\xff\xfe\n", b"line\nbreak\x00"))
            producer.produce(self.topic, value, key, on_delivery=on_delivery)
            producer.poll(0)
        assert producer.flush(30) == 0

    def start(self, instance: str = "0") -> subprocess.Popen[bytes]:
        log = (self.folder / f"{self.name}-{instance}.log").open("ab")
        with log:
            worker = subprocess.Popen(
                [
                    *(sys.executable, "-m", "webevents", "stage"),
                    *("--settings", self.settings, "--instance", instance),
                ],
                stdout=log,
                stderr=log,
            )
        self.workers.append(worker)
        return worker

    def view(self) -> GroupView:
        while True:
            try:
                group = self.workload.group or ""
                return self.observer.groups({group: [self.topic]})[group]
            except KafkaException:
                time.sleep(0.2)

    def wait(self, until: Callable[[GroupView], bool], timeout: float = 90) -> GroupView:
        deadline = time.monotonic() + timeout
        while not until(view := self.view()):
            assert time.monotonic() < deadline, (view.lag, view.counts(), self.logs())
            time.sleep(0.1)
        return view

    def wait_until_stored(self) -> None:
        """Wait for the end, and hold everything against what was sent."""
        view = self.wait(lambda v: v.lag == 0 and v.counts().received >= len(self.sent))
        assert view.counts().balanced
        assert view.counts().received == view.counts().delivered == len(self.sent)
        found = list(self.found())
        assert len(found) == len(self.sent)
        assert {(r.partition, r.offset, r.key, r.value) for r in found} == self.sent

    def found(self) -> Iterator[Replayed]:
        for each in self.store.list(f"{self.root}/"):
            name = ObjectName.parse(each.key, self.root)
            assert name, each.key
            records = list(read_object(self.store.get(each.key)[0], name.format))
            assert (records[0].partition, records[0].offset) == (name.partition, name.first)
            yield from records

    def objects(self) -> dict[str, str]:
        return {each.key: each.etag for each in self.store.list(f"{self.root}/")}

    def logs(self) -> str:
        return "".join(path.read_text()[-2000:] for path in self.folder.glob(f"{self.name}-*.log"))

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
        self.observer.close()
        self.store.close()


LabFactory = Callable[..., Lab]


@pytest.fixture
def lab(kafka: str, s3: EmbeddedS3, tmp_path: Path) -> Iterator[LabFactory]:
    made: list[Lab] = []

    def make(store: S3Spec | None = None, **archive: Any) -> Lab:
        made.append(Lab(kafka, store or s3.spec, tmp_path, archive))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("format_", ["ndjson", "parquet"])
def test_every_message_is_kept_byte_for_byte(lab: LabFactory, format_: str) -> None:
    archive = lab(format=format_, objectBytes=1_000_000)
    archive.produce(20_000)
    worker = archive.start()
    archive.wait_until_stored()
    before = archive.objects()
    # Full ones of 1 MB each, not one each second.
    assert PARTITIONS <= len(before) < 20
    hour = time.strftime("%Y/%m/%d/", time.gmtime())
    assert all(key.startswith(f"{archive.root}/{hour}") for key in before)
    archive.produce(1_000)
    archive.wait_until_stored()
    after = archive.objects()
    assert before.items() <= after.items()
    worker.terminate()
    assert worker.wait(15) == 0, archive.logs()


def test_kills_at_any_moment_lose_double_and_rewrite_nothing(lab: LabFactory) -> None:
    archive = lab(objectBytes=1_000_000)
    rng = Random(5)
    seen: dict[str, str] = {}
    for round_ in range(1, 7):
        worker = archive.start()
        archive.produce(8_000)
        known = len(archive.objects())
        # Killed while starting, filling, uploading or committing.
        if round_ % 3:
            archive.wait(lambda _, known=known: len(archive.objects()) > known)
        time.sleep(rng.random())
        worker.kill()
        worker.wait()
        objects = archive.objects()
        assert seen.items() <= objects.items(), "an object was written anew with other content"
        seen = objects
    archive.start()
    archive.wait_until_stored()
    assert seen.items() <= archive.objects().items()


def test_an_outage_of_the_store_delays_and_loses_nothing(
    kafka: str, lab: LabFactory, tmp_path: Path
) -> None:
    with EmbeddedS3(tmp_path / "own-s3", bucket="lake") as server:
        archive = lab(server.spec)
        server.stop()
        archive.produce(5_000)
        worker = archive.start()
        time.sleep(8)
        assert worker.poll() is None, archive.logs()
        assert archive.view().counts().received == 0
        server.start()
        archive.wait_until_stored()
        assert "takes nothing, trying again" in archive.logs()


def test_two_workers_share_the_partitions(lab: LabFactory) -> None:
    archive = lab()
    archive.start("0")
    archive.produce(3_000)
    archive.wait_until_stored()
    archive.start("1")
    deadline = time.monotonic() + 60
    while True:
        admin = AdminClient(archive.config)
        group = archive.workload.group or ""
        members = admin.describe_consumer_groups([group])[group].result(10).members
        owned = sorted(len(member.assignment.topic_partitions) for member in members)
        archive.produce(500)
        if owned == [1, 2]:
            break
        assert time.monotonic() < deadline, owned
        time.sleep(0.5)
    archive.wait_until_stored()


def test_objects_in_parts_listings_and_removal(
    s3: EmbeddedS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore(s3.spec)
    prefix = uuid.uuid4().hex
    body = Random(1).randbytes(40_000_000)
    store.put(f"{prefix}/large", body, "application/zstd", {"first-offset": "7"})
    found, etag = store.get(f"{prefix}/large")
    assert found == body
    assert etag == store.etag(f"{prefix}/large")
    assert etag.endswith("-3")  # parts of 16 MiB
    keys = [f"{prefix}/n/{number:04}" for number in range(50)]
    for key in keys:
        store.put(key, b"x", "text/plain")
    # Pages are of 1,000 otherwise.
    page = store._page
    monkeypatch.setattr(store, "_page", lambda asked: page({**asked, "MaxKeys": 7}))
    monkeypatch.setattr("webevents.connectors.s3.store._DELETE_AT_ONCE", 9)
    assert [each.key for each in store.list(f"{prefix}/n/")] == keys
    assert [each.key for each in store.list(f"{prefix}/n/", after=keys[-9])] == keys[-8:]
    store.delete([*keys, "not-there"])
    assert not list(store.list(f"{prefix}/n/"))
    assert store.etag(keys[0]) is None
    with pytest.raises(StoreError) as caught:
        store.get(keys[0])
    assert caught.value.absent
    store.close()


def test_a_changed_key_file_is_read_again(s3: EmbeddedS3, tmp_path: Path) -> None:
    access, secret = tmp_path / "access", tmp_path / "secret"
    access.write_text("first\n")
    secret.write_text("s\n")
    spec = s3.spec.model_copy(
        update={"access_key_file": str(access), "secret_key_file": str(secret)}
    )
    store = ObjectStore(spec)
    store.ensure_bucket()
    first = store._client
    assert store._current() is first
    access.write_text("second-key\n")
    store.put("keys/changed", b"x", "text/plain")
    assert store._client is not first
    credentials = store._client._request_signer._credentials
    assert credentials.access_key == "second-key"
    # While the file is being replaced, the keys that were read last stay in use.
    access.unlink()
    store.put("keys/changed", b"y", "text/plain")
    store.close()
    with pytest.raises(UserError, match="cannot be read"):
        ObjectStore(spec)


def test_a_missing_bucket_is_named_and_waited_for(s3: EmbeddedS3) -> None:
    store = ObjectStore(s3.spec.model_copy(update={"bucket": f"b{uuid.uuid4().hex[:10]}"}))
    uploader = Uploader(store, 1)
    upload = uploader.submit("key", b"body", "text/plain")
    deadline = time.monotonic() + 20
    while uploader.outage is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "NoSuchBucket" in uploader.outage.error
    assert not upload.done()
    store.ensure_bucket()
    assert upload.wait(30)
    assert uploader.outage is None
    uploader.close()
    store.close()


def test_the_settings_hold_no_secret(lab: LabFactory) -> None:
    text = json.dumps(json.loads(lab().settings.read_text()))
    assert "accessKeyFile" in text
    assert '"local"' not in text
