"""Servers that are there already: TLS, SASL and mutual TLS on Kafka, TLS and log-in on the other.

Kafka is real in all of it; for Elasticsearch see tests/support/tls_proxy.py.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tls_lab import TlsLab
from tls_proxy import secured

from webevents.local.kafka_server import EmbeddedKafka

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

EXAMPLE = Path(__file__).parents[2] / "manifests" / "examples" / "web-events.yaml"
PASSWORD, API_KEY = "correct-horse", "YTpiYy1zZWNyZXQ="
KEYS = {"api_key": API_KEY, "wrong_key": "d3Jvbmc6a2V5"}


@pytest.fixture
def lab(tmp_path: Path) -> TlsLab:
    return TlsLab(tmp_path, password=PASSWORD, wrong="battery-staple", **KEYS)


@pytest.fixture
def proxy(lab: TlsLab, elasticsearch: str) -> Iterator[str]:
    with secured(elasticsearch, lab.authority, user="ann", password=PASSWORD, key=API_KEY) as url:
        yield url


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "webevents", "run", "-f", str(EXAMPLE), "--seconds", "20"),
            *options,
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )


def check(result: subprocess.CompletedProcess[str], report: Path) -> None:
    assert result.returncode == 0, result.stderr[-3000:]
    summary = json.loads(report.read_text())
    assert summary["balanced"]
    assert summary["stages"]["index"]["out"] > 200
    assert summary["restarts"] == 0


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """One sentence for people, no traceback, no secret."""
    assert result.returncode == 2, result.stderr[-3000:]
    for word in words:
        assert word in result.stderr
    assert "Traceback" not in result.stderr
    for secret in (PASSWORD, API_KEY, "battery-staple"):
        assert secret not in result.stdout + result.stderr


def test_scram_over_tls_and_basic_authentication(
    kafka_server: Callable[..., EmbeddedKafka], lab: TlsLab, proxy: str
) -> None:
    broker = kafka_server(
        protocol="SASL_SSL",
        format_arguments=("--add-scram", f"SCRAM-SHA-512=[name=ann,password={PASSWORD}]"),
        extra=lab.broker_settings(
            **{
                "scram-sha-512.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                )
            }
        )
        | {"sasl.enabled.mechanisms": "SCRAM-SHA-512"},
    )
    report = lab.folder / "report.json"
    kafka = ["--kafka", broker.bootstrap, "--kafka-ca", lab.file("ca.pem"), "--kafka-user", "ann"]
    elastic = ["--elasticsearch", proxy, "--elasticsearch-ca", lab.file("ca.pem")]
    user = ["--elasticsearch-user", "ann", "--elasticsearch-password-file", lab.file("password")]
    right = ["--kafka-password-file", lab.file("password")]
    check(run(*kafka, *right, *elastic, *user, "--report", str(report)), report)

    wrong = ["--kafka-password-file", lab.file("wrong")]
    refused(run(*kafka, *wrong, *elastic, *user), "cannot prepare the topics")
    key = ["--elasticsearch-api-key-file", lab.file("wrong-key")]
    refused(run(*kafka, *right, *elastic, *key), "refuses the credentials")
    strange = ["--elasticsearch", proxy, "--elasticsearch-ca", lab.file("stranger.pem")]
    refused(run(*kafka, *right, *strange, *user), "caFile")


def test_mutual_tls_and_an_api_key(
    kafka_server: Callable[..., EmbeddedKafka], lab: TlsLab, proxy: str
) -> None:
    broker = kafka_server(
        protocol="SSL", extra=lab.broker_settings(**{"ssl.client.auth": "required"})
    )
    report = lab.folder / "report.json"
    ca = ["--kafka", broker.bootstrap, "--kafka-ca", lab.file("ca.pem")]
    client = ["--kafka-cert", lab.file("client.pem"), "--kafka-key", lab.file("client.key")]
    elastic = ["--elasticsearch", proxy, "--elasticsearch-ca", lab.file("ca.pem")]
    key = ["--elasticsearch-api-key-file", lab.file("api-key")]
    check(run(*ca, *client, *elastic, *key, "--report", str(report)), report)
    refused(run(*ca, *elastic, *key), "cannot prepare the topics")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--kafka-user", "ann"], "--kafka HOST:PORT"),
        (["--elasticsearch-user", "ann"], "--elasticsearch URL"),
        (["--kafka", "a:1", "--kafka-cert", "x"], "certFile and keyFile go together"),
        (["--elasticsearch", "localhost"], "http"),
        (["--report", "nowhere/report.json"], "does not exist"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], words: str) -> None:
    refused(run(*options), words)
