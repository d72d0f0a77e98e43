"""Repairs of failed events from the command line."""

from pathlib import Path

import pytest

from webevents.errors import UserError
from webevents.operations.mend import make_repair

SCRIPT = """
def repair(event):
    return event + b'}' if type(event) is bytes else None
"""


def test_nothing_to_mend_is_no_repair() -> None:
    assert make_repair() is None


def test_fields_are_renamed_then_dropped_then_set() -> None:
    repair = make_repair(
        ["a=1", "text=two words", 'deep={"x": [1]}'], ["gone"], ["old=new", "z=gone"]
    )
    assert repair is not None
    assert repair({"old": 5, "z": 6, "gone": 7, "kept": 8}) == {
        "new": 5,
        "kept": 8,
        "a": 1,
        "text": "two words",
        "deep": {"x": [1]},
    }


def test_what_is_no_object_needs_a_script(tmp_path: Path) -> None:
    fields = make_repair(["a=1"])
    assert fields is not None
    assert fields(b"{") is None
    script = tmp_path / "s.py"
    script.write_text(
        "def repair(event):\n    return event + b'}' if type(event) is bytes else None\n"
    )
    own = make_repair(["a=1"], script=script)
    assert own is not None
    assert own(b"{") == b"{}"
    assert own({"b": 2}) is None


@pytest.mark.parametrize("text", ["novalue", "=1"])
def test_an_assignment_without_a_name_or_value_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="NAME=VALUE"):
        make_repair([text])


@pytest.mark.parametrize("text", ["x = 1", "raise ValueError('no')", "def repair("])
def test_a_script_without_a_repair_is_refused(tmp_path: Path, text: str) -> None:
    script = tmp_path / "s.py"
    script.write_text(text)
    with pytest.raises(UserError, match="--script"):
        make_repair(script=script)
    with pytest.raises(UserError, match="not a Python file"):
        make_repair(script=tmp_path / "absent.py")
