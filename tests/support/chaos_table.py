"""A pytest plugin that writes what the fault tests have seen into docs/reliability.md.

``make chaos`` loads it. Each row of the document's table names its tests; a row is kept as it was
where none of them has run.
"""

import re
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
_ROW = re.compile(r"^\| (?P<fault>[^|]+) \| (?P<expected>[^|]+) \| (?P<tests>[^|]+) \|.*$")
_NAME = re.compile(r"`(test_\w+)`")


@dataclass
class _Result:
    outcomes: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)


_results: defaultdict[str, _Result] = defaultdict(_Result)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take note of a test's end."""
    name = report.nodeid.rpartition("::")[2].partition("[")[0]
    if report.when == "call" or report.outcome != "passed":
        _results[name].outcomes.append(report.outcome)
    if report.when == "call":
        _results[name].seen += [str(text) for key, text in report.user_properties if key == "seen"]


def pytest_sessionfinish() -> None:
    """Write the rows whose tests have run."""
    DOCUMENT.write_text("\n".join(map(_renewed, DOCUMENT.read_text().split("\n"))))


def _renewed(line: str) -> str:
    row = _ROW.match(line)
    names = _NAME.findall(row["tests"]) if row else []
    found = [_results[name] for name in names if name in _results]
    if not row or not found:
        return line
    outcomes = [outcome for each in found for outcome in each.outcomes]
    passed = outcomes.count("passed")
    told = "; ".join(text for each in found for text in each.seen)
    verdict = "passed" if passed == len(outcomes) else f"{passed} of {len(outcomes)} passed"
    day = time.strftime("%Y-%m-%d", time.gmtime())
    cell = f"{day}: {verdict}" + (f": {told}" if told else "")
    return f"| {row['fault']} | {row['expected']} | {row['tests']} | {cell} |"
