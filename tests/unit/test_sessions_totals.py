"""Totals: merging them is commutative and associative, and the same as adding event by event."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from webevents.logic.sessions.totals import Entry, Totals

VALUES = st.none() | st.sampled_from("abcdef")
ENTRIES = st.builds(
    Entry,
    time_us=st.integers(0, 5),
    event_id=st.sampled_from("xyzuvw"),
    digest=st.just(0),
    event_type=st.sampled_from("pqrs"),
    page=VALUES,
    referrer=VALUES,
    product=VALUES,
    query=VALUES,
    user_id=VALUES,
    revenue=st.integers(-5, 10**18),
    head=st.tuples(st.integers(0, 9)),
    footprint=st.none(),
)
LISTS = st.lists(ENTRIES, min_size=1, max_size=12, unique_by=lambda e: (e.time_us, e.event_id))
LIMITS = st.integers(1, 4)


def distinct(entries: list[Entry]) -> list[Entry]:
    """The digest stands for id and time; every other event leaves a footprint."""
    return [
        e._replace(
            digest=e.time_us << 8 | ord(e.event_id),
            footprint=(e.time_us, e.event_id, e.page, ("f/1",), (), 0) if e.page else None,
        )
        for e in entries
    ]


def total(entries: list[Entry], limit: int) -> Totals:
    made = Totals.of(7, 1, entries[0])
    for entry in entries[1:]:
        made.add(entry, limit)
    return made


def merged(one: Totals, *others: Totals, limit: int) -> Totals:
    made = one.copy()
    for other in others:
        made.merge(other, limit)
    return made


@settings(deadline=None)
@given(LISTS, LIMITS, st.data())
def test_merging_is_commutative_associative_and_like_adding(
    entries: list[Entry], limit: int, data: st.DataObject
) -> None:
    entries = distinct(entries)
    whole = total(entries, limit)
    assert total(data.draw(st.permutations(entries)), limit) == whole
    marks = sorted(data.draw(st.sets(st.integers(1, len(entries)), max_size=2)) | {len(entries)})
    cuts = [entries[a:b] for a, b in zip([0, *marks[:-1]], marks, strict=True)]
    parts = [total(cut, limit) for cut in cuts]
    assert merged(*parts, limit=limit) == whole
    assert merged(*reversed(parts), limit=limit) == whole
    if len(parts) == 3:
        one, two, three = parts
        assert merged(one, merged(two, three, limit=limit), limit=limit) == whole
    assert [total(cut, limit) for cut in cuts] == parts, "merging changes only its left side"


@settings(deadline=None)
@given(LISTS, LIMITS)
def test_totals_are_the_same_when_written_and_read_back(entries: list[Entry], limit: int) -> None:
    whole = total(distinct(entries), limit)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(whole), type=Totals)
    assert again == whole


def test_a_list_keeps_its_first_values_and_a_count_is_of_all_its_events() -> None:
    base = Entry(0, "x", 0, "b", "m", None, None, "q", None, 0, ())
    made = Totals.of(0, 1, base)
    for n, (page, event_type) in enumerate((("z", "c"), ("a", "a"), ("k", "b"), ("b", "a")), 1):
        entry = base._replace(
            time_us=n, digest=n, page=page, event_type=event_type, query=f"q{9 - n}"
        )
        made.add(entry, 2)
    assert made.pages == {"a", "b"}
    assert made.types == {"a": 2, "b": 2}
    assert [mark[2] for mark in made.queries] == ["q", "q8"]
    assert made.truncated
    assert made.entry is not None
    assert made.exit is not None
    assert (made.entry[2], made.exit[2]) == ("m", "b")
