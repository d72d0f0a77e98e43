"""References to secrets in fields that name files."""

from pathlib import Path
from typing import Any

import pytest

from webevents.errors import UserError
from webevents.spec.alerts import AlertsSpec, Receiver
from webevents.spec.load import parse_pipeline
from webevents.spec.pipeline import WebEventPipeline
from webevents.spec.secrets import SecretRef, environment, files, references, with_secrets_in


def pipeline(spec: dict[str, Any]) -> WebEventPipeline:
    head = {"apiVersion": "webevents.dev/v1alpha1", "kind": "WebEventPipeline"}
    return parse_pipeline(head | {"metadata": {"name": "shop"}, "spec": spec}, "test")


SASL = {"username": "u", "passwordFile": "secret:kafka-user/password"}


def test_references_become_paths_and_paths_stay() -> None:
    made = pipeline(
        {
            "kafka": {"sasl": SASL, "tls": {"caFile": "/etc/ca.pem"}},
            "enrich": {"geo": {"databases": ["secret:geo/city.mmdb", "/data/country.mmdb"]}},
        }
    )
    placed = with_secrets_in(made, Path("/run/s")).spec
    assert placed.kafka.sasl and placed.kafka.tls
    assert placed.kafka.sasl.password_file == "/run/s/kafka-user/password"
    assert placed.kafka.tls.ca_file == "/etc/ca.pem"
    assert placed.enrich.geo.databases == ("/run/s/geo/city.mmdb", "/data/country.mmdb")
    assert made.spec.kafka.sasl and made.spec.kafka.sasl.password_file == SASL["passwordFile"]
    assert references(made) == [SecretRef("geo", "city.mmdb"), SecretRef("kafka-user", "password")]


def test_fields_are_named_as_people_write_them() -> None:
    made = pipeline(
        {"kafka": {"sasl": SASL}, "postgres": {"passwordEnv": "PGPASSWORD"}, "generator": {}}
    )
    assert [file.field for file in files(made)] == ["spec.kafka.sasl.passwordFile"]
    assert environment(made) == [("spec.postgres.passwordEnv", "PGPASSWORD")]


def test_without_references_nothing_changes() -> None:
    made = pipeline({"generator": {}})
    assert with_secrets_in(made, Path("/run/s")) == made
    assert references(made) == []


@pytest.mark.parametrize(
    "value", ["secret:", "secret:name", "secret:Name/key", "secret:a/../b", "secret:a/.."]
)
def test_what_is_no_reference_is_refused(value: str) -> None:
    made = pipeline({"kafka": {"sasl": {"username": "u", "passwordFile": value}}})
    with pytest.raises(UserError, match="secret:NAME/KEY"):
        with_secrets_in(made, Path("/run/s"))


def test_receivers_of_alerts_may_refer_to_secrets() -> None:
    receiver = Receiver.model_validate({"slack": {"urlFile": "secret:chat/url"}})
    alerts = AlertsSpec(receivers={"team": receiver})
    assert references(alerts) == [("chat", "url")]
    assert [file.field for file in files(alerts)] == ["receivers.team.slack.urlFile"]
    placed = with_secrets_in(alerts, Path("/secrets")).receivers["team"].slack
    assert placed and placed.url_file == "/secrets/chat/url"
