"""A pipeline with every kind of workload on servers that are closed: TLS to all of them, a log-in
and permissions of its own for each workload, and marked secrets and personal data in what it is
given, valid and malformed.

Kafka (with its authorizer), Elasticsearch, PostgreSQL and the object store are real; the latter and
Elasticsearch have no TLS of their own, see tests/support/tls_proxy.py and tls_lab.py.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from pipelines import Servers, TestPipeline, children
from receivers import LocalReceiver
from tls_lab import TlsLab, tls_in_front
from tls_proxy import secured

from webevents.connectors.kafka import client_config
from webevents.connectors.kafka_observe import Observer
from webevents.connectors.postgres import connect
from webevents.events.failed import FailedEvent, decode_failed
from webevents.local import postgres_server as postgres_module
from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.ports import free_port
from webevents.local.postgres_server import EmbeddedPostgres
from webevents.local.s3_server import EmbeddedS3
from webevents.plan.access import permissions
from webevents.plan.make import make_plan
from webevents.spec.kafka import OPERATOR, TOOLS
from webevents.spec.load import load_pipeline

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SECRETS = {
    name: f"canary-{name}-{number}d9f2c7e1b"
    for number, name in enumerate(("api-key", "s3-access", "s3-secret", "hash", "live", "write"))
}
PERSON = {
    "user_id": "canary-user-8731",
    "user_custom_id": "canary.ann@mail.example",
    "ip_address": "203.0.113.213",
    "user_domain_id": "canary-visitor-4417",
}
PHONE = "canary-phone-5550137"
"""What nobody expects in an event, such as the name of a member."""
MARKS = [*SECRETS.values(), *PERSON.values(), PHONE, "canary"]
STAGES = ("enrich", "sessionize", "analyze", "index", "store", "archive", "detect")
ACCOUNTS = (*STAGES, "generator", "collector", "live", OPERATOR, TOOLS)
SYSTEMS_OWN = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
"""Where Debian has PostgreSQL; the wheel's knows no TLS."""


@dataclass
class Closed:
    """What a finished run has left behind."""

    lab: TlsLab
    pipeline: TestPipeline
    kafka: str
    raw: str
    report: dict[str, Any]
    failed: list[FailedEvent]
    texts: dict[str, str] = field(default_factory=dict)
    """All that the run said, by where."""

    def config(self, account: str) -> dict[str, Any]:
        """Kafka settings of one of the accounts."""
        spec = self.pipeline.pipeline.spec.kafka.logged_in_as(account)
        return client_config(spec) | {"log_level": 0}


def password(account: str) -> str:
    return f"canary-password-of-{account}-63be"


@pytest.fixture(scope="module")
def closed(elasticsearch: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    if not SYSTEMS_OWN:
        pytest.skip("the system has no PostgreSQL, and the wheel no TLS")
    folder = tmp_path_factory.mktemp("closed")
    lab = TlsLab(folder / "files", **{name.replace("-", "_"): v for name, v in SECRETS.items()})
    for account in (*ACCOUNTS, "admin"):
        Path(lab.file(f"{account}-password")).write_text(password(account) + "\n")
    with contextlib.ExitStack() as stack:
        kafka = stack.enter_context(_kafka(folder / "kafka", lab))
        postgres = stack.enter_context(_postgres(folder / "postgres", lab))
        s3 = stack.enter_context(EmbeddedS3(folder / "s3", bucket="lake"))
        store = stack.enter_context(tls_in_front(s3.port, lab.authority))
        key = SECRETS["api-key"]
        search = stack.enter_context(
            secured(elasticsearch, lab.authority, user="nobody", password="-", key=key)
        )
        receiver = LocalReceiver()
        stack.callback(receiver.close)
        spec = _spec(lab, kafka.bootstrap, search, postgres, store, f"{receiver.url}/{PHONE}")
        pipeline = TestPipeline(Servers(kafka.bootstrap, search), folder / "run", spec)
        yield _run(lab, pipeline, kafka, postgres)


@contextlib.contextmanager
def _kafka(folder: Path, lab: TlsLab) -> Iterator[EmbeddedKafka]:
    users = [
        argument
        for account in (*ACCOUNTS, "admin")
        for argument in (
            "--add-scram",
            f"SCRAM-SHA-512=[name=shop-{account},password={password(account)}]",
        )
    ]
    authorizer = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        # The broker talks to itself without a log-in.
        "super.users": "User:shop-admin;User:ANONYMOUS",
    }
    with EmbeddedKafka(
        folder,
        protocol="SASL_SSL",
        format_arguments=tuple(users),
        extra=lab.scram_settings() | authorizer,
    ) as server:
        yield server


@contextlib.contextmanager
def _postgres(folder: Path, lab: TlsLab) -> Iterator[EmbeddedPostgres]:
    certificate, key = lab.server_files()
    settings = {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres_module, "_find_programs", lambda: SYSTEMS_OWN[0].parent)
        with EmbeddedPostgres(folder, extra=settings) as server:
            yield server


def _spec(
    lab: TlsLab, kafka: str, search: str, postgres: EmbeddedPostgres, store: int, receiver: str
) -> dict[str, Any]:
    tls = {"caFile": lab.file("ca.pem")}
    Path(lab.file("receiver")).write_text(receiver)
    return {
        "kafka": {
            "bootstrapServers": kafka,
            "tls": tls,
            "sasl": {
                "username": "shop-{workload}",
                "passwordFile": lab.file("{workload}-password"),
            },
        },
        "elasticsearch": {"urls": [search], "tls": tls, "apiKeyFile": lab.file("api-key")},
        "postgres": {
            "host": "127.0.0.1",
            "port": postgres.port,
            "tls": tls,
            "passwordFile": postgres.spec.password_file,
        },
        "s3": {
            "endpoint": f"https://127.0.0.1:{store}",
            "bucket": "lake",
            "tls": tls,
            "accessKeyFile": lab.file("s3-access"),
            "secretKeyFile": lab.file("s3-secret"),
        },
        "generator": {"eventsPerSecond": 5},
        "collector": {
            # Like the page's: two workers of pytest that run this would meet on the usual ports.
            "port": free_port(),
            "sites": [{"name": "shop", "writeKeysFile": lab.file("write")}],
        },
        "enrich": {"privacy": {"hashFields": ["search_query"], "hashKeyFile": lab.file("hash")}},
        "events": {"maxBytes": 20_000},
        "index": {"unknownFields": "fail"},
        "analytics": {"enabled": True},
        "store": {"enabled": True, "tables": ["sessionMetrics", "processedEvents"]},
        "archive": {"enabled": True, "interval": "1s"},
        "loader": {"enabled": True, "every": "1s"},
        "live": {"enabled": True, "port": free_port(), "tokenFile": lab.file("live")},
        "alerts": {
            "enabled": True,
            "rules": {"failedEvents": {"enabled": True, "above": 0}},
            "receivers": {"team": {"webhook": {"urlFile": lab.file("receiver")}}},
        },
    }


def _valid(name: str, **fields: Any) -> dict[str, Any]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"event_id": name, "event_timestamp": now, "event_type": "pageview", **PERSON, **fields}


def messages() -> dict[str, bytes]:
    """Messages with personal data, each with the reason for which it fails; "" for none."""

    def of(name: str, **fields: Any) -> bytes:
        return json.dumps(_valid(name, **fields)).encode()

    mail = PERSON["user_custom_id"]
    return {
        "": of("m-valid", page_url=f"https://shop.example/?email={mail}", search_query=PHONE),
        "invalid_json": of("m-cut")[:-1],
        "wrong_type": of("m-type", page_url={mail: PHONE}),
        "missing_field": json.dumps(PERSON).encode(),
        "invalid_timestamp": of("m-time", event_timestamp=mail),
        "timestamp_in_future": of("m-future", event_timestamp="2199-01-01T00:00:00Z"),
        "too_large": of("m-large", page_title=mail * 2_000),
        "too_deep": of("m-deep")[:-1] + b',"x":' + b'{"canary":' * 30 + b"1" + b"}" * 31,
        "unknown_field": of("m-name", **{f"{mail} {PHONE}": mail}),
        "rejected": of("m-refused", geo_location=mail),
    }


REASONS = {*messages(), "invalid_payload"} - {""}


def _run(
    lab: TlsLab, pipeline: TestPipeline, kafka: EmbeddedKafka, postgres: EmbeddedPostgres
) -> Closed:
    admin = ["--kafka", kafka.bootstrap, "--kafka-ca", lab.file("ca.pem"), "--kafka-user"]
    admin += ["shop-admin", "--kafka-password-file", lab.file("admin-password")]
    texts = {"acls": _webevents("acls", "-f", str(pipeline.file), "--create", *admin)}
    report, log = pipeline.folder / "report.json", pipeline.folder / "run.log"
    data = pipeline.folder / "data"
    command = [
        *(sys.executable, "-m", "webevents", "run", "-f", str(pipeline.file)),
        *("--report", str(report), "--data-dir", str(data), "--metrics"),
    ]
    made = Closed(lab, pipeline, kafka.bootstrap, pipeline.raw_topic, {}, [], texts)
    with _running(command, log) as process:
        _until(lambda: "targets for Prometheus" in log.read_text(), process, log)
        urls = re.findall(r"http://127\.0\.0\.1:\d+/metrics", log.read_text())
        (collector,) = re.findall(r"collector (http://\S+)", log.read_text())
        _until(lambda: _status(f"{collector}/readyz") == 200, process, log)
        _produce(made)
        _collect(collector)
        _until(lambda: {f.reason for f in _failed(made)} >= REASONS, process, log)
        _until(lambda: _loaded(pipeline), process, log)
        for number, url in enumerate(urls):
            texts[f"metrics {number}"] = _get(url)
        for pid, arguments in children(process.pid):
            texts[f"command line {pid}"] = " ".join(arguments)
            texts[f"environment {pid}"] = Path(f"/proc/{pid}/environ").read_text()
    made.report = json.loads(report.read_text())
    made.failed = _failed(made)
    texts |= {"screen": log.read_text(), "report": report.read_text()}
    texts["plan"] = _webevents("plan", "-f", str(pipeline.file))
    for path in sorted(data.rglob("*")):
        if path.is_file() and "spool" not in path.parts:
            texts[str(path.relative_to(data))] = path.read_text(errors="replace")
    return made


@contextlib.contextmanager
def _running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run, which ends well when the block has."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process
        process.send_signal(signal.SIGINT)
        assert process.wait(240) == 0, log.read_text()[-5000:]
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _webevents(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "webevents", *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _answer(*arguments: str) -> Any:
    """What a command tells as JSON; its progress comes after it."""
    answer, _ = json.JSONDecoder().raw_decode(_webevents(*arguments))
    return answer


def _until(
    true: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, timeout: float = 240
) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert process.poll() is None, log.read_text()[-5000:]
        assert time.monotonic() < deadline, log.read_text()[-5000:]
        time.sleep(0.3)


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def _produce(made: Closed) -> None:
    producer = Producer(made.config("admin"))
    for value in messages().values():
        producer.produce(made.raw, value, PERSON["user_id"].encode())
    assert producer.flush(60) == 0


def _collect(url: str) -> None:
    """What a collector is sent: with the right and a wrong key, sound and not, to no path."""
    mail = PERSON["user_custom_id"]
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"Mozilla/5.0 {PHONE}",
        "Cookie": f"webevents_id={PERSON['user_domain_id']}",
        "X-Forwarded-For": PERSON["ip_address"],
    }

    def post(path: str, body: Any, key: str = SECRETS["write"]) -> int:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"{url}{path}", content, headers | {"X-Write-Key": key})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    batch = {"key": SECRETS["write"], "events": [_valid("c-valid"), {"event_type": {mail: 1}}]}
    assert post("/v1/events", batch) == 200
    assert post("/v1/events", batch | {"key": "canary-wrong-key"}, "canary-wrong-key") == 401
    assert post("/v1/events", mail.encode()) == 400
    wrong = {"type": PHONE, "userId": mail, "writeKey": SECRETS["write"]}
    assert post("/v1/batch", {"batch": [wrong], "writeKey": SECRETS["write"]}) == 400
    assert post(f"/{PHONE}?email={mail}", {}) == 404


def _failed(made: Closed) -> list[FailedEvent]:
    observer = Observer(made.config("admin"))
    topic = made.pipeline.pipeline.spec.topics.failed.name
    try:
        return [decode_failed(message.value()) for message in observer.messages(topic)]
    finally:
        observer.close()


def _loaded(pipeline: TestPipeline) -> bool:
    """Whether each sink holds the valid event."""
    spec = load_pipeline(pipeline.file).spec.postgres
    with connect(spec) as connection:
        counts = [
            connection.execute(query).fetchone()
            for query in (
                "SELECT count(*) FROM processed_events WHERE event_id = 'm-valid'",
                "SELECT count(*) FROM events",
            )
        ]
    return all(row and row[0] for row in counts) and "m-valid" in pipeline.documents("events")


def test_every_workload_delivers_with_its_own_log_in_only(closed: Closed) -> None:
    report = closed.report
    assert report["balanced"], report
    assert report["restarts"] == 0, closed.texts["screen"][-3000:]
    assert set(report["stages"]) == set(STAGES)
    for stage in STAGES:
        assert report["stages"][stage]["in"] > 20, (stage, report["stages"][stage])
    refusals = [
        f"{where}: {line[:300]}"
        for where, text in closed.texts.items()
        for line in text.splitlines()
        if re.search(r"(?i)authorization failed|not authorized", line)
    ]
    assert not refusals, refusals[:5]


def test_nobody_reads_another_ones_topic(closed: Closed) -> None:
    """Each account by each topic: reading is refused but where the plan allows it."""
    plan = make_plan(load_pipeline(closed.pipeline.file))
    allowed = permissions(plan)
    assert set(allowed) == set(ACCOUNTS)
    names = [topic.name for topic in plan.topics]
    tried = refused = 0
    for account, granted in allowed.items():
        mine = {p.name for p in granted if p.resource == "topic" and "Read" in p.operations}
        found = {name: _read(closed, account, name) for name in names}
        tried += len(found)
        refused += sum(error is not None for error in found.values())
        assert {name for name, error in found.items() if error is None} == mine & set(names), (
            account,
            found,
        )
        assert set(found.values()) <= {None, KafkaError.TOPIC_AUTHORIZATION_FAILED}
    assert (tried, refused) == (len(ACCOUNTS) * len(names), tried - len(_readable(allowed, names)))
    # Nor is there anything to be written to where nothing is written.
    assert _write(closed, "index", closed.raw) == KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert _write(closed, "collector", closed.raw) is None


def _readable(allowed: dict[str, Any], names: list[str]) -> list[tuple[str, str]]:
    return [
        (account, permission.name)
        for account, granted in allowed.items()
        for permission in granted
        if permission.resource == "topic"
        and "Read" in permission.operations
        and permission.name in names
    ]


def _read(closed: Closed, account: str, topic: str) -> int | None:
    """The error that an account gets when it reads a partition; None where it can be read."""
    own = {"group.id": f"{closed.pipeline.name}-{account}", "enable.partition.eof": True}
    consumer = Consumer(closed.config(account) | own | {"enable.auto.commit": False})
    try:
        # What may not even be seen gives no error when it is read.
        unseen = consumer.list_topics(topic, timeout=60).topics[topic].error
        if unseen is not None:
            return int(unseen.code())
        consumer.assign([TopicPartition(topic, 0, 0)])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            message = consumer.poll(1)
            if message is None:
                continue
            error = message.error()
            if error is None or error.code() == KafkaError._PARTITION_EOF:
                return None
            if error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:  # it joins none
                return int(error.code())
        raise AssertionError(f"{account} got no answer about {topic}")
    finally:
        consumer.close()


def _write(closed: Closed, account: str, topic: str) -> int | None:
    told: list[Any] = []
    producer = Producer(closed.config(account) | {"message.timeout.ms": 30_000})
    producer.produce(topic, b"{}", on_delivery=lambda error, _: told.append(error))
    producer.flush(60)
    (error,) = told
    return None if error is None else int(error.code())


def test_no_secret_and_no_personal_datum_is_told(closed: Closed) -> None:
    """Log files, settings, metrics, report, screen, plan, command lines, environments."""
    reasons = {each.reason for each in closed.failed}
    assert reasons >= REASONS
    texts = dict(closed.texts)
    for number, each in enumerate(closed.failed):
        texts[f"failed event {number}"] = f"{each.stage} {each.reason} {each.detail}"
    logs = [where for where in texts if where.endswith(".log")]
    assert {f"workloads/{name}.log" for name in (*STAGES, "collector", "loader")} <= set(logs)
    assert any(where.startswith("metrics") and "webevents_" in texts[where] for where in texts)
    # The database's password is made by the server.
    marks = [*MARKS, Path(load_pipeline(closed.pipeline.file).spec.postgres.password_file or "")]
    marks[-1] = marks[-1].read_text().strip()
    told = [
        f"{where}: …{text[max(text.index(mark) - 80, 0) : text.index(mark) + 60]}…"
        for where, text in texts.items()
        for mark in marks
        if mark in text
    ]
    assert not told, told


def test_the_canaries_are_where_they_belong(closed: Closed) -> None:
    """The search above would find them: the valid event's data are in its document, the malformed
    ones' in the payload of their failed events."""
    document = closed.pipeline.documents("events")["m-valid"]
    assert {name: document[name] for name in PERSON} == PERSON
    assert PHONE not in json.dumps(document)  # hashed
    for each in closed.failed:
        if each.topic == closed.raw and each.reason not in ("too_large",):
            kept = each.original().decode()
            assert any(mark in kept for mark in PERSON.values()), each


def test_tools_log_in_as_themselves(closed: Closed) -> None:
    file = ["-f", str(closed.pipeline.file)]
    told = _webevents("trace", "m-valid", *file)
    assert "enriched" in told
    assert "unknown_field" in _webevents("failed", *file)
    assert "Balanced" in _webevents("ledger", *file)


def test_tools_replay_backfill_and_erase_as_themselves(closed: Closed) -> None:
    """The last of this system's tests: what is erased is gone."""
    file = ["-f", str(closed.pipeline.file)]
    mend = ["failed", "replay", *file, "--json", "--reason", "invalid_timestamp"]
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 24 * 3600))
    mend += ["--set", f"event_timestamp={day}T12:00:00Z"]
    sent = _answer(*mend)
    assert (sent["sent"], sent["sentBefore"]) == (1, 0)
    sent = _answer(*mend)
    assert (sent["sent"], sent["sentBefore"]) == (0, 1)

    again = ["backfill", "run", "again", "--first-day", day, "--content", "events", "--json"]
    done = _answer(*again, *file)
    assert done["phase"] == "done", done
    assert "m-time" in closed.pipeline.documents("events"), "no stage runs that could index it"

    person = ["--field", f"user_domain_id={PERSON['user_domain_id']}"]
    topics = ("raw", "enriched", "sessions", "analytics", "failed")
    everywhere = [word for topic in topics for word in ("--truncate", topic)]
    command = [sys.executable, "-m", "webevents", "run", *file]
    # The stages forget a person by the tombstones that they read; what is cut they have read.
    with _running(command, closed.pipeline.folder / "second-run.log"):
        erased = _answer("erase", *file, *person, *everywhere, "--yes", "--json")
    assert erased["complete"], erased
    documents = closed.pipeline.documents("events")
    assert documents, "other people's"
    marked = [d for d in documents.values() if d.get("user_domain_id") == PERSON["user_domain_id"]]
    assert not marked


def test_one_log_in_for_all_has_no_acls(tmp_path: Path) -> None:
    document = {
        "apiVersion": "webevents.dev/v1alpha1",
        "kind": "WebEventPipeline",
        "metadata": {"name": "shop"},
        "spec": {"kafka": {"bootstrapServers": "k:9093", "tls": {}}},
    }
    file = tmp_path / "shop.yaml"
    file.write_text(yaml.safe_dump(document))
    command = [sys.executable, "-m", "webevents", "acls", "-f", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)
    assert done.returncode == 2
    assert "write {workload} in spec.kafka.sasl.username" in done.stderr
    done = subprocess.run(
        [*command, "--principal", "User:CN=shop-{workload}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = done.stdout.splitlines()
    assert "--add --allow-principal 'User:CN=shop-enrich' --operation Read --topic" in lines[0]
