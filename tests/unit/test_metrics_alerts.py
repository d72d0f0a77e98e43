"""The alert rules and Prometheus' configuration, by Prometheus' own tool."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "manifests" / "monitoring"
RULE_TESTS = ROOT / "tests" / "data" / "alerts_test.yaml"


def promtool(*arguments: str | Path) -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    done = subprocess.run([found, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_configuration_is_valid() -> None:
    said = promtool("check", "config", MONITORING / "prometheus.yaml")
    assert "1 rule files found" in said


def test_the_rules_are_valid() -> None:
    assert "9 rules found" in promtool("check", "rules", "--lint=all", MONITORING / "alerts.yaml")


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", RULE_TESTS)


def test_each_rule_has_a_test_that_it_fires_and_one_that_it_does_not() -> None:
    document = yaml.safe_load((MONITORING / "alerts.yaml").read_text(encoding="utf-8"))
    names = {rule["alert"] for group in document["groups"] for rule in group["rules"]}
    cases = [
        case
        for test in yaml.safe_load(RULE_TESTS.read_text(encoding="utf-8"))["tests"]
        for case in test["alert_rule_test"]
    ]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == names
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == names


def test_everything_is_scraped_every_15_seconds() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text(encoding="utf-8"))
    assert config["global"]["scrape_interval"] == "15s"
    assert all("scrape_interval" not in job for job in config["scrape_configs"])
