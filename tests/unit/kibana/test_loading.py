"""Loading into Kibana, by the operator and by the command.

Kibana itself cannot be had here: the server is a stand-in that keeps to its documented API
(tests/support/fake_kibana.py says to what).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_kibana import FakeKibana
from typer.testing import CliRunner

from webevents.cli import app
from webevents.connectors.kibana import Kibana, KibanaUnavailable, bring_dashboards
from webevents.errors import UserError
from webevents.kibana.objects import saved_objects
from webevents.spec.kibana import KibanaSpec
from webevents.spec.load import load_pipeline
from webevents_operator.config import ConnectionsConfig
from webevents_operator.connections import shows_dashboards, used, with_defaults
from webevents_operator.external.dashboards import bring_kibana
from webevents_operator.status import Reason

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "manifests" / "examples" / "web-events.yaml"
PASSWORD = "correct horse"


@pytest.fixture
def kibana() -> Iterator[FakeKibana]:
    fake = FakeKibana(FakeKibana.basic("loader", PASSWORD))
    yield fake
    fake.close()


@pytest.fixture
def spec(kibana: FakeKibana, tmp_path: Path) -> KibanaSpec:
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    return KibanaSpec(url=kibana.url, username="loader", password_file=str(secret))


def objects() -> list[dict[str, Any]]:
    return saved_objects(load_pipeline(EXAMPLE))


def bring(spec: KibanaSpec, space: str = "web-events") -> list[str]:
    return bring_dashboards(spec, space, "web-events", objects())


def test_the_space_is_made_and_everything_loaded_once(kibana: FakeKibana, spec: KibanaSpec) -> None:
    first = bring(spec)
    assert first == [
        "made Kibana's space web-events",
        f"loaded {len(objects())} objects into Kibana's space web-events",
    ]
    assert {each["id"] for each in kibana.in_space("web-events")} == {
        each["id"] for each in objects()
    }
    assert bring(spec) == []
    assert kibana.imports == 1


def test_it_is_loaded_again_when_one_is_gone(kibana: FakeKibana, spec: KibanaSpec) -> None:
    bring(spec)
    del kibana.objects["web-events", "dashboard", "web-events-overview"]
    assert len(bring(spec)) == 1
    assert ("web-events", "dashboard", "web-events-overview") in kibana.objects


def test_it_is_loaded_again_when_kibana_is_another(kibana: FakeKibana, spec: KibanaSpec) -> None:
    bring(spec)
    kibana.version = "9.2.0"
    assert len(bring(spec)) == 1
    assert bring(spec) == []


def test_it_is_loaded_again_when_the_definition_changed(
    kibana: FakeKibana, spec: KibanaSpec
) -> None:
    bring(spec)
    key = ("web-events", "visualization", "web-events-about")
    kibana.objects[key]["attributes"]["description"] = "Definition 000000000000"
    assert len(bring(spec)) == 1


def test_what_people_changed_stays_until_the_definition_changes(
    kibana: FakeKibana, spec: KibanaSpec
) -> None:
    bring(spec)
    key = ("web-events", "dashboard", "web-events-overview")
    kibana.objects[key]["attributes"]["title"] = "Mine"
    assert bring(spec) == []
    assert kibana.objects[key]["attributes"]["title"] == "Mine"


def test_the_default_space_is_used_and_not_made(kibana: FakeKibana, spec: KibanaSpec) -> None:
    assert len(bring(spec, "default")) == 1
    assert set(kibana.spaces) == {"default"}
    assert len(kibana.in_space("default")) == len(objects())


def test_the_same_identifiers_in_another_space_are_told(
    kibana: FakeKibana, spec: KibanaSpec
) -> None:
    bring(spec, "one")
    with pytest.raises(UserError, match="give one of the pipelines another name"):
        bring(spec, "two")


def test_an_object_that_kibana_does_not_take_is_named(kibana: FakeKibana, spec: KibanaSpec) -> None:
    wrong = objects()
    del wrong[1]
    with pytest.raises(UserError, match="web-events-overview: missing_references"):
        bring_dashboards(spec, "web-events", "web-events", wrong)


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (503, KibanaUnavailable, "is not ready"),
        (403, UserError, "privileges"),
        (404, UserError, "base path"),
        (302, UserError, "base path"),
    ],
)
def test_refusals_say_what_to_do(
    kibana: FakeKibana, spec: KibanaSpec, status: int, kind: type[UserError], told: str
) -> None:
    kibana.broken = status
    with pytest.raises(kind, match=told):
        bring(spec)


def test_wrong_credentials_are_told_without_them(kibana: FakeKibana, spec: KibanaSpec) -> None:
    assert spec.password_file
    Path(spec.password_file).write_text("battery staple")
    with pytest.raises(UserError, match="refuses the credentials") as caught:
        bring(spec)
    assert "staple" not in str(caught.value)


def test_api_keys(tmp_path: Path) -> None:
    fake = FakeKibana("ApiKey abc==")
    (tmp_path / "key").write_text("abc==\n")
    try:
        spec = KibanaSpec(url=fake.url, api_key_file=str(tmp_path / "key"))
        assert Kibana(spec, "default").version() == "9.1.2"
    finally:
        fake.close()


def test_no_answer_is_told(spec: KibanaSpec) -> None:
    away = spec.model_copy(update={"url": "http://127.0.0.1:9"})
    with pytest.raises(KibanaUnavailable, match="start it, or correct"):
        bring(away)


def test_a_secret_that_cannot_be_read_is_named() -> None:
    spec = KibanaSpec(url="http://127.0.0.1:9", username="x", password_file="/nowhere/at/all")
    with pytest.raises(UserError, match=r"spec\.kibana\.passwordFile"):
        Kibana(spec, "default")


# The operator.


def test_the_operator_says_how_it_went(kibana: FakeKibana, spec: KibanaSpec) -> None:
    pipeline = load_pipeline(EXAMPLE)
    pipeline = pipeline.model_copy(
        update={"spec": pipeline.spec.model_copy(update={"kibana": spec})}
    )
    outcome = bring_kibana(pipeline)
    assert outcome.ok and outcome.reason is Reason.AS_WANTED
    boards = sum(1 for each in objects() if each["type"] == "dashboard")
    assert boards >= 10
    assert outcome.message == f"All {boards} dashboards are in Kibana's space web-events."
    assert len(outcome.done) == 2
    assert bring_kibana(pipeline).done == ()

    kibana.broken = 503
    outcome = bring_kibana(pipeline)
    assert (outcome.ok, outcome.reason) == (False, Reason.KIBANA_UNAVAILABLE)
    assert outcome.failing


def test_the_operators_kibana_is_for_the_operators_elasticsearch() -> None:
    connections = ConnectionsConfig.model_validate(
        {
            "kafka": {"bootstrapServers": "kafka:9092"},
            "elasticsearch": {"urls": ["https://es:9200"]},
            "kibana": {"url": "https://kb:5601"},
        }
    )
    pipeline = load_pipeline(EXAMPLE)
    assert not shows_dashboards(pipeline.spec)
    spec = with_defaults(pipeline, connections).spec
    assert spec.kibana.url == "https://kb:5601"
    assert shows_dashboards(spec)

    elsewhere = pipeline.spec.elasticsearch.model_copy(update={"urls": ("https://other:9200",)})
    other = pipeline.model_copy(
        update={"spec": pipeline.spec.model_copy(update={"elasticsearch": elsewhere})}
    )
    assert with_defaults(other, connections).spec.kibana.url is None


def test_a_kibana_that_is_not_used_needs_no_secret() -> None:
    pipeline = load_pipeline(ROOT / "manifests" / "examples" / "site-family.yaml")
    kibana = KibanaSpec(url="https://kb:5601", username="x", password_file="secret:none/password")
    spec = used(pipeline.spec.model_copy(update={"kibana": kibana}))
    assert spec.kibana.password_file is None


# The commands.


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["kibana", *arguments])


def test_export_writes_what_kibana_imports(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    assert run("export", "-f", str(EXAMPLE), "-o", str(file)).exit_code == 0
    committed = ROOT / "manifests" / "kibana" / "web-events.ndjson"
    assert file.read_text() == committed.read_text()
    shown = run("export", "-f", str(EXAMPLE), "--space", "shop").output
    assert json.loads(shown.splitlines()[0])["id"] == "shop-web-events-about"


def test_import_loads_and_then_has_nothing_to_do(kibana: FakeKibana, spec: KibanaSpec) -> None:
    assert spec.password_file
    arguments = (
        *("import", "-f", str(EXAMPLE), "--url", kibana.url),
        *("--user", "loader", "--password-file", spec.password_file),
    )
    first = run(*arguments)
    assert first.exit_code == 0, first.output
    assert "Loaded" in first.output
    assert "already" in run(*arguments).output
    assert kibana.imports == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("import", "-f", str(EXAMPLE)), "spec.kibana.url is not set"),
        (("import", "-f", str(EXAMPLE), "--password-file", "x"), "goes with --user"),
        (("import", "-f", str(EXAMPLE), "--url", "kibana"), "http or https"),
        (("export", "-f", str(EXAMPLE.with_name("site-family.yaml"))), "spec.index.enabled"),
        (("export", "-f", str(EXAMPLE.with_name("session-metrics.yaml"))), "OpenSearch"),
    ],
)
def test_mistakes_are_told(arguments: tuple[str, ...], told: str) -> None:
    result = run(*arguments)
    assert result.exit_code
    assert isinstance(result.exception, UserError)
    assert told in str(result.exception)
