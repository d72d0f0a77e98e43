"""A WebEventBackfill on a real API server, with a real Kafka and a real Elasticsearch.

Pods of these tests hold nothing that runs a stage, so the test does what the Job would: it runs the
very command with the very settings that the operator has made.
"""

import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from kube import Kube, OperatorProcess, condition, eventually, pipeline
from lightkube import ApiError

from webevents.connectors.elasticsearch import connect, refresh
from webevents.spec.elasticsearch import ElasticsearchSpec
from webevents_operator import kinds, names
from webevents_operator.kinds import Object

StartOperator = Callable[..., OperatorProcess]
DAY = "2026-03-01"


class Shop:
    """A pipeline whose day is indexed, and whose settings have changed since."""

    def __init__(self, kube: Kube, namespace: str, kafka: str, elasticsearch: str) -> None:
        self.kube, self.namespace = kube, namespace
        prefix = uuid.uuid4().hex[:8]
        self.index = f"{prefix}-events-2026.03.01"
        topics = ("raw", "enriched", "sessions", "failed")
        self.spec: dict[str, Any] = {
            "kafka": {"bootstrapServers": kafka},
            "elasticsearch": {"urls": [elasticsearch]},
            "index": {
                "events": {"prefix": f"{prefix}-events"},
                "sessions": {"prefix": f"{prefix}-sessions"},
            },
            "enrich": {"sourceCategories": {"newsletter": ["shop-mail"]}},
            "topics": {which: {"name": f"{prefix}-{which}"} for which in topics},
        }
        self.client: Any = connect(ElasticsearchSpec(urls=(elasticsearch,)))
        kube.create(pipeline(namespace, "shop", self.spec))

    def fill(self, count: int) -> None:
        """Send raw events, and index them as other settings made them."""
        producer = Producer({"bootstrap.servers": self.spec["kafka"]["bootstrapServers"]})
        for number in range(count):
            event = {
                "event_id": f"e-{number}",
                "event_timestamp": f"{DAY}T10:{number % 60:02}:00Z",
                "event_type": "pageview",
                "user_domain_id": f"visitor-{number % 7}",
                "utm_source": "shop-mail",
            }
            key = event["user_domain_id"].encode()
            producer.produce(self.spec["topics"]["raw"]["name"], json.dumps(event).encode(), key)
            old = event | {"source_category": "other/unknown"}
            self.client.index(index=self.index, id=event["event_id"], document=old)
        assert producer.flush(60) == 0

    def backfill(self, name: str, **spec: Any) -> Object:
        """Make a backfill of the day."""
        values = {"pipeline": "shop", "firstDay": DAY, "lastDay": DAY, "contents": ["events"]}
        made = kinds.BACKFILL.of(name, self.namespace, spec=values | spec)
        return self.kube.create(made)

    def resource(self, name: str) -> Object:
        return self.kube.must_get(kinds.BACKFILL, self.namespace, name)

    def wait(self, name: str, reason: str, status: str = "False") -> Object:
        """Wait for the condition Complete."""
        return eventually(
            lambda: condition(self.resource(name), "Complete"),
            lambda c: (c.get("status"), c.get("reason")) == (status, reason),
            seconds=180,
        )

    def job(self, name: str) -> Object:
        """The only Job of a backfill."""

        def jobs() -> list[Object]:
            return self.kube.list(kinds.JOB, self.namespace, **{names.BACKFILL: name})

        (job,) = eventually(jobs, lambda found: len(found) == 1, seconds=120)
        return job

    def do_the_job(self, name: str, folder: Path) -> None:
        """Run what the Job's container would run."""
        job = self.job(name)
        (container,) = job["spec"]["template"]["spec"]["containers"]
        config = self.kube.must_get(kinds.CONFIG_MAP, self.namespace, job["metadata"]["name"])
        settings = folder / f"{name}.json"
        settings.write_text(config["data"]["settings.json"])
        assert container["command"] == ["webevents"]
        words = [str(settings) if "/" in w else w for w in container["args"]]
        done = subprocess.run(
            [sys.executable, "-m", "webevents", *words],
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr[-3000:]

    def categories(self) -> set[str]:
        """What the day's documents say."""
        refresh(self.client, self.index)
        found = self.client.search(index=self.index, body={"size": 1000})
        return {hit["_source"].get("source_category", "none") for hit in found["hits"]["hits"]}

    def shadows(self, name: str) -> list[str]:
        return list(self.client.indices.get(index=f"backfill-{name}-{self.index}*"))


@pytest.fixture
def shop(kube: Kube, namespace: str, kafka: str, elasticsearch: str) -> Shop:
    return Shop(kube, namespace, kafka, elasticsearch)


def test_a_backfill_is_run_compared_and_swapped(
    shop: Shop, start_operator: StartOperator, tmp_path: Path
) -> None:
    start_operator()
    eventually(
        lambda: condition(
            shop.kube.must_get(kinds.PIPELINE, shop.namespace, "shop"), "TopicsReady"
        ),
        lambda c: c.get("status") == "True",
        seconds=180,
    )
    shop.fill(100)
    shop.backfill("mail", swap=False)
    job = shop.job("mail")
    (owner,) = job["metadata"]["ownerReferences"]
    assert owner["uid"] == shop.resource("mail")["metadata"]["uid"]
    pod = job["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert shop.resource("mail")["metadata"]["finalizers"] == [names.FINALIZER]

    shop.do_the_job("mail", tmp_path)
    shop.wait("mail", "Paused")
    (index,) = shop.resource("mail")["status"]["indices"]
    assert index == {
        "name": shop.index,
        "index": f"backfill-mail-{shop.index}",
        "swapped": False,
        "old": 100,
        "new": 100,
        "changed": 100,
        "missing": 0,
        "extra": 0,
    }
    assert shop.categories() == {"other/unknown"}

    # Only how it ends may change.
    for spec in ({"lastDay": "2026-03-02"}, {"source": {"type": "archive"}}):
        with pytest.raises(ApiError, match="only missing and swap may change"):
            shop.kube.merge(kinds.BACKFILL, shop.namespace, "mail", {"spec": spec})
    first = job["metadata"]["name"]
    shop.kube.merge(kinds.BACKFILL, shop.namespace, "mail", {"spec": {"swap": True}})
    eventually(lambda: shop.job("mail")["metadata"]["name"] != first, seconds=120)
    shop.do_the_job("mail", tmp_path)
    shop.wait("mail", "AsWanted", "True")
    status = shop.resource("mail")["status"]
    assert status["phase"] == "done"
    assert status["indices"][0]["swapped"] is True
    assert shop.categories() == {"newsletter"}
    assert list(shop.client.indices.get_alias(index=shop.index)) == [index["index"]]
    eventually(lambda: not shop.resource("mail")["metadata"].get("finalizers"))

    # Deleting it leaves what it has done.
    shop.kube.delete(kinds.BACKFILL, shop.namespace, "mail")
    eventually(lambda: shop.kube.get(kinds.BACKFILL, shop.namespace, "mail") is None)
    assert shop.categories() == {"newsletter"}


def test_a_backfill_that_is_deleted_leaves_nothing(
    shop: Shop, start_operator: StartOperator, tmp_path: Path
) -> None:
    start_operator()
    eventually(
        lambda: condition(
            shop.kube.must_get(kinds.PIPELINE, shop.namespace, "shop"), "TopicsReady"
        ),
        lambda c: c.get("status") == "True",
        seconds=180,
    )
    shop.fill(20)
    shop.client.index(index=shop.index, id="nowhere", document={"event_id": "nowhere"})
    shop.backfill("part")
    shop.do_the_job("part", tmp_path)
    told = shop.wait("part", "Paused")["message"]
    assert "nowhere" in told and "missing" in told
    assert shop.shadows("part")
    shop.kube.delete(kinds.BACKFILL, shop.namespace, "part")
    eventually(lambda: shop.kube.get(kinds.BACKFILL, shop.namespace, "part") is None, seconds=180)
    assert not shop.shadows("part")
    assert shop.categories() == {"other/unknown", "none"}

    shop.backfill("lost", pipeline="nobody")
    assert "nobody" in shop.wait("lost", "DependencyMissing")["message"]
    shop.backfill("today", lastDay="2999-01-01", firstDay="2998-12-31")
    assert "not past" in shop.wait("today", "InvalidSpec")["message"]
