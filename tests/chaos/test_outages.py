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
from chaos_load import RATE, caught_up, megabytes, searchable, under_load, wait_for
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
from pipelines import Servers

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
    servers = Servers(kafka.bootstrap, elasticsearch.url)
    minutes = 10 * SHARE
    with under_load(servers, tmp_path, seen) as load:
        elasticsearch.kill()
        time.sleep(60 * minutes / 10)
        # Sessionize grows meanwhile as it always does, until as many sessions end as begin.
        waiting = ("enrich", "index")
        early, open_early = megabytes(load.run, *waiting), megabytes(load.run, "sessionize")
        time.sleep(60 * minutes * 0.9)
        late, open_late = megabytes(load.run, *waiting), megabytes(load.run, "sessionize")
        elasticsearch.start()
        before, began = wait_for(lambda: searchable(load.pipeline), 120), time.monotonic()
        behind = int(RATE * 60 * minutes)
        wait_for(lambda: searchable(load.pipeline) >= before + behind, 60 * minutes)
        rate = behind / (time.monotonic() - began) / RATE
        grown = (
            f"memory of enrich and index {early:.0f} MB after the first tenth, {late:.0f} MB at "
            f"the end (of sessionize, whose sessions stay open, {open_early:.0f} and "
            f"{open_late:.0f} MB)"
        )
        load.told = f"away for {minutes:.0f} min; {grown}; drained at {rate:.1f} times the input"
    assert load.report["restarts"] == 0
    assert load.report["stages"]["index"]["failed"] == 0
    assert "late" not in load.report["stages"]["sessionize"]["dropped"]
    assert late <= early * 1.1 + 20
    assert rate >= 2


def test_kafka_is_away_for_five_minutes(
    kafka: EmbeddedKafka, elasticsearch: EmbeddedElasticsearch, tmp_path: Path, seen: Seen
) -> None:
    servers = Servers(kafka.bootstrap, elasticsearch.url)
    minutes = 5 * SHARE
    with under_load(servers, tmp_path, seen) as load:
        kafka.kill()
        time.sleep(60 * minutes)
        kafka.start()
        caught_up(load.pipeline)
        load.told = f"the only broker was away for {minutes:.0f} min"


def test_the_broker_restarts_again_and_again(
    kafka: EmbeddedKafka, elasticsearch: EmbeddedElasticsearch, tmp_path: Path, seen: Seen
) -> None:
    servers = Servers(kafka.bootstrap, elasticsearch.url)
    with under_load(servers, tmp_path, seen) as load:
        for turn in range(6):
            (kafka.kill if turn % 2 else kafka.stop)()
            kafka.start()
            caught_up(load.pipeline)
        load.told = "6 restarts, every second one by SIGKILL"


def test_elasticsearch_rejects_a_third_of_the_items(
    kafka: EmbeddedKafka, elasticsearch: EmbeddedElasticsearch, tmp_path: Path, seen: Seen
) -> None:
    with busy_search(elasticsearch.url) as (url, busy):
        busy.share = 0.3
        with under_load(Servers(kafka.bootstrap, url), tmp_path, seen) as load:
            for _ in range(5):
                caught_up(load.pipeline)
            rejected = busy.rejected
            busy.share = 0
            load.told = f"{rejected:,} items were answered 429 and sent again"
        assert rejected > 500
        assert load.report["stages"]["index"]["failed"] == 0


def test_elasticsearch_takes_no_writes_as_with_a_full_disk(
    kafka: EmbeddedKafka, elasticsearch: EmbeddedElasticsearch, tmp_path: Path, seen: Seen
) -> None:
    """The block is the one that Elasticsearch itself sets at its flood stage."""
    servers = Servers(kafka.bootstrap, elasticsearch.url)

    def block(name: str, value: bool | None) -> None:
        body = json.dumps({"index.blocks.read_only_allow_delete": value}).encode()
        request = urllib.request.Request(
            f"{elasticsearch.url}/{name}-*/_settings", body,
            {"content-type": "application/json"}, method="PUT",
        )  # fmt: skip
        urllib.request.urlopen(request, timeout=30).close()

    with under_load(servers, tmp_path, seen) as load:
        for _ in range(3):
            block(load.pipeline.name, True)
            time.sleep(20)
            block(load.pipeline.name, None)
            caught_up(load.pipeline)
        load.told = "3 times 20 s with the block of the flood stage"
    assert load.report["stages"]["index"]["failed"] == 0


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
        with under_load(Servers(kafka.bootstrap, url), tmp_path, seen) as load:
            topics = load.pipeline.pipeline.spec.topics
            for topic in (topics.enriched.name, topics.sessions.name, topics.state_name):
                rule = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:*", "*")
                denied = (*rule, AclOperation.ALL, AclPermissionType.DENY)
                [made] = admin.create_acls([AclBinding(*denied)]).values()
                made.result(30)
                time.sleep(20)
                [gone] = admin.delete_acls([AclBindingFilter(*denied)]).values()
                assert gone.result(30)
                caught_up(load.pipeline)
            busy.revoked = True
            time.sleep(30)
            busy.revoked = False
            caught_up(load.pipeline)
            load.told = "3 topics denied for 20 s each, then 30 s without Elasticsearch's log-in"
        assert load.report["stages"]["index"]["failed"] == 0


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
        with under_load(addresses, tmp_path, seen) as load:
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
                caught_up(load.pipeline)
            resets = first.resets + second.resets
            what = f"{resets} resets, twice 20 s swallowed, 10 s refused"
            load.told = f"50 ms more for each piece, {what}"
