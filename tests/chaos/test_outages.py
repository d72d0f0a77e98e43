"""Servers and networks that are away, busy, full or slow, under load."""

import json
import os
import random
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chaos_load import RATE, SPEC, caught_up, check, megabytes, searchable, wait_for
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from net_faults import busy_search, tcp_proxy
from pipelines import Servers, TestPipeline

from webevents.local.elasticsearch_server import EmbeddedElasticsearch
from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.ports import LOOPBACK, free_port

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

SHARE = float(os.environ.get("CHAOS_SHARE", "1"))
"""Of the outages' usual lengths."""

Seen = Callable[[str], None]


def test_elasticsearch_is_away_for_ten_minutes(
    kafka: EmbeddedKafka, elasticsearch: EmbeddedElasticsearch, tmp_path: Path, seen: Seen
) -> None:
    pipeline = TestPipeline(Servers(kafka.bootstrap, elasticsearch.url), tmp_path, SPEC)
    minutes = 10 * SHARE
    with pipeline.running() as run:
        caught_up(pipeline)
        elasticsearch.kill()
        time.sleep(60 * minutes / 10)
        early = megabytes(run)
        time.sleep(60 * minutes * 0.9)
        late = megabytes(run)
        elasticsearch.start()
        before, began = wait_for(lambda: searchable(pipeline), 120), time.monotonic()
        behind = int(RATE * 60 * minutes)
        wait_for(lambda: searchable(pipeline) >= before + behind, 60 * minutes)
        rate = behind / (time.monotonic() - began) / RATE
        run.interrupt()
        report = run.finish(300)
    assert report["restarts"] == 0
    assert report["stages"]["index"]["failed"] == 0
    assert "late" not in report["stages"]["sessionize"]["dropped"]
    grown = f"stages' memory {early:.0f} MB after the first tenth, {late:.0f} MB at the end"
    what = f"away for {minutes:.0f} min; {grown}; drained at {rate:.1f} times the input"
    check(pipeline, report, seen, what)
    assert late <= early * 1.1 + 20
    assert rate >= 2


def test_kafka_is_away_for_five_minutes(
    kafka: EmbeddedKafka, elasticsearch: EmbeddedElasticsearch, tmp_path: Path, seen: Seen
) -> None:
    pipeline = TestPipeline(Servers(kafka.bootstrap, elasticsearch.url), tmp_path, SPEC)
    minutes = 5 * SHARE
    with pipeline.running() as run:
        caught_up(pipeline)
        kafka.kill()
        time.sleep(60 * minutes)
        kafka.start()
        caught_up(pipeline)
        run.interrupt()
        report = run.finish(300)
    check(pipeline, report, seen, f"the only broker was away for {minutes:.0f} min")


def test_the_broker_restarts_again_and_again(
    kafka: EmbeddedKafka, elasticsearch: EmbeddedElasticsearch, tmp_path: Path, seen: Seen
) -> None:
    pipeline = TestPipeline(Servers(kafka.bootstrap, elasticsearch.url), tmp_path, SPEC)
    with pipeline.running() as run:
        for turn in range(6):
            caught_up(pipeline)
            (kafka.kill if turn % 2 else kafka.stop)()
            kafka.start()
        caught_up(pipeline)
        run.interrupt()
        report = run.finish(300)
    check(pipeline, report, seen, "6 restarts, every second one by SIGKILL")


def test_elasticsearch_rejects_a_third_of_the_items(
    kafka: EmbeddedKafka, elasticsearch: EmbeddedElasticsearch, tmp_path: Path, seen: Seen
) -> None:
    with busy_search(elasticsearch.url) as (url, busy):
        pipeline = TestPipeline(Servers(kafka.bootstrap, url), tmp_path, SPEC)
        busy.share = 0.3
        with pipeline.running() as run:
            for _ in range(6):
                caught_up(pipeline)
            rejected = busy.rejected
            busy.share = 0
            run.interrupt()
            report = run.finish(300)
        assert rejected > 500
        assert report["stages"]["index"]["failed"] == 0
        check(pipeline, report, seen, f"{rejected:,} items were answered 429 and sent again")


def test_elasticsearch_takes_no_writes_as_with_a_full_disk(
    kafka: EmbeddedKafka, elasticsearch: EmbeddedElasticsearch, tmp_path: Path, seen: Seen
) -> None:
    """The block is the one that Elasticsearch itself sets at its flood stage."""
    pipeline = TestPipeline(Servers(kafka.bootstrap, elasticsearch.url), tmp_path, SPEC)

    def block(value: bool | None) -> None:
        body = json.dumps({"index.blocks.read_only_allow_delete": value}).encode()
        request = urllib.request.Request(
            f"{elasticsearch.url}/{pipeline.name}-*/_settings", body,
            {"content-type": "application/json"}, method="PUT",
        )  # fmt: skip
        urllib.request.urlopen(request, timeout=30).close()

    with pipeline.running() as run:
        caught_up(pipeline)
        for _ in range(3):
            block(True)
            time.sleep(20)
            block(None)
            caught_up(pipeline)
        run.interrupt()
        report = run.finish(300)
    assert report["stages"]["index"]["failed"] == 0
    check(pipeline, report, seen, "3 times 20 s with the block of the flood stage")


def test_credentials_are_revoked(
    servers: Callable[..., Any], elasticsearch: EmbeddedElasticsearch, tmp_path: Path, seen: Seen
) -> None:
    """A real authoriser denies the topics to everybody for a while, then Elasticsearch's log-in is
    no good."""
    kafka = servers(
        EmbeddedKafka,
        extra={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
        },
    )
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    with busy_search(elasticsearch.url) as (url, busy):
        pipeline = TestPipeline(Servers(kafka.bootstrap, url), tmp_path, SPEC)
        topics = pipeline.pipeline.spec.topics
        with pipeline.running() as run:
            caught_up(pipeline)
            for topic in (topics.enriched.name, topics.sessions.name, topics.state_name):
                rule = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:*", "*")
                denied = (*rule, AclOperation.ALL, AclPermissionType.DENY)
                [made] = admin.create_acls([AclBinding(*denied)]).values()
                made.result(30)
                time.sleep(20)
                [gone] = admin.delete_acls([AclBindingFilter(*denied)]).values()
                assert gone.result(30)
                caught_up(pipeline)
            busy.revoked = True
            time.sleep(30)
            busy.revoked = False
            caught_up(pipeline)
            run.interrupt()
            report = run.finish(300)
        assert report["stages"]["index"]["failed"] == 0
        what = "3 topics denied for 20 s each, then 30 s without Elasticsearch's log-in"
        check(pipeline, report, seen, what)


def test_the_network_is_slow_breaks_and_swallows(
    servers: Callable[..., Any], elasticsearch: EmbeddedElasticsearch, tmp_path: Path, seen: Seen
) -> None:
    """A TCP proxy stands between the pipeline and both servers."""
    inner, outer, broker, controller = (free_port() for _ in range(4))
    kafka = servers(
        EmbeddedKafka,
        port=inner,
        extra={
            "listeners": f"CLIENT://{LOOPBACK}:{inner},BROKER://{LOOPBACK}:{broker},"
            f"CONTROLLER://{LOOPBACK}:{controller}",
            "advertised.listeners": f"CLIENT://{LOOPBACK}:{outer},BROKER://{LOOPBACK}:{broker}",
            "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{controller}",
        },
    )
    front = free_port()
    chance = random.Random(4)
    with tcp_proxy(kafka.port, outer) as first, tcp_proxy(elasticsearch.port, front) as second:
        addresses = Servers(f"{LOOPBACK}:{outer}", f"http://{LOOPBACK}:{front}")
        pipeline = TestPipeline(addresses, tmp_path, SPEC)
        with pipeline.running() as run:
            caught_up(pipeline)
            for faults in (first, second):
                faults.delay_s = 0.05
                time.sleep(20)
                for _ in range(20):
                    faults.reset_all()
                    time.sleep(chance.uniform(0.1, 2))
                faults.delay_s = 0
                faults.blackhole = True
                time.sleep(20)
                faults.blackhole = False
                faults.reset_all()
                faults.refuse = True
                time.sleep(10)
                faults.refuse = False
                caught_up(pipeline)
            run.interrupt()
            report = run.finish(300)
        resets = first.resets + second.resets
        what = f"50 ms more for each piece, {resets} resets, twice 20 s swallowed, 10 s refused"
        check(pipeline, report, seen, what)
