"""Everything that takes bytes from outside takes them, or fails them with a reason.

A short version of `make fuzz`: the corpus in tests/data/fuzz (an input for each reason, and what
once was a fault), a few thousand damaged inputs, and JSON values of any shape.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzz_inputs import make_input
from fuzz_targets import TAKEN, TARGETS, remove_file
from hypothesis import given
from hypothesis import strategies as st

KEPT = sorted((Path(__file__).parents[1] / "data" / "fuzz").glob("*/*"))
INPUTS = {"event": 1_500, "change": 1_000, "collector": 600, "spec": 30}
"""By target; 200 of the others."""

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module", autouse=True)
def _no_file_is_left() -> Iterator[None]:
    yield
    remove_file()


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_is_kept_ends_as_it_should(path: Path) -> None:
    """A file is named after its reason; one that `make fuzz` has kept is called fault."""
    word = TARGETS[path.parent.name].run(path.read_bytes())
    assert path.name.startswith(("fault-", f"{word.replace(' ', '_')}-"))


@pytest.mark.parametrize("name", TARGETS)
def test_sound_inputs_are_taken(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds:
        raw = seed if isinstance(seed, bytes) else target.encode(seed)
        word = target.run(raw)
        # The table's third row has no quantity that is a number, as a sound file may have.
        assert word == TAKEN or (name in ("csv", "ndjson", "parquet") and word == "row"), word


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_inputs_are_taken_or_failed_with_a_reason(name: str) -> None:
    target = TARGETS[name]
    words = Counter(
        target.run(make_input(name, number, target.seeds, target.encode))
        for number in range(INPUTS.get(name, 200))
    )
    malformed = words.total() - words[TAKEN]
    assert malformed > words.total() / 2, "the inputs are hardly damaged"


@given(st.dictionaries(st.sampled_from(["event_id", "price", "page_url", "products"]), VALUES))
def test_any_values_in_an_event(members: dict[str, Any]) -> None:
    sound = TARGETS["event"].seeds[1]
    assert TARGETS["event"].run(json.dumps(sound | members).encode("utf-8", "replace"))


@given(VALUES)
def test_any_value_as_a_request(value: Any) -> None:
    for path in range(6):
        assert TARGETS["collector"].run(bytes([path]) + json.dumps(value).encode())


@given(VALUES, st.sampled_from(["schema", "payload"]))
def test_any_value_in_a_change(value: Any, where: str) -> None:
    sound = TARGETS["change"].seeds[1]
    assert TARGETS["change"].run(TARGETS["change"].encode(sound | {where: value}))


@given(st.binary(max_size=200))
def test_any_bytes_anywhere(raw: bytes) -> None:
    for target in TARGETS.values():
        assert target.run(raw)
