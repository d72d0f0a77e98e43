"""Batches: parts of submissions, the newest of each key, and what errors mean."""

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webevents.connectors.postgres.errors import is_outage, is_refusal, is_row_error
from webevents.connectors.postgres.queries import QUERIES
from webevents.connectors.postgres.statements import TableStatements, gather, lock_key
from webevents.connectors.postgres.submission import Item, RowError, StoreHandle, cut, halves
from webevents.logic.rows.tables import RETRACTED_SESSIONS, TABLES, Row


def row(key: str, version: int = 0, line: bytes | None = b"line\n", table: str = "t") -> Row:
    return Row(table, key, version, line)


items = st.lists(
    st.lists(
        st.builds(
            row,
            st.sampled_from("abc"),
            st.integers(0, 5),
            st.one_of(st.none(), st.binary(max_size=50)),
            st.sampled_from(("t", "u")),
        ),
        max_size=2,
    ),
    max_size=20,
)


@given(items)
def test_the_newest_version_of_each_key_is_kept_whatever_came_before(items: list[Item]) -> None:
    batches = gather(items)
    rows = [each for item in items for each in item]
    assert batches.keys() == {each.table for each in rows}
    for table, batch in batches.items():
        newest: dict[str, Row] = {}
        for each in rows:
            if each.table == table and each.version >= newest.get(each.key, each).version:
                newest[each.key] = each
        lines = [each.line for each in newest.values() if each.line is not None]
        gone = [(each.key, each.version) for each in newest.values() if each.line is None]
        assert sorted(batch.lines) == sorted(lines)
        assert sorted(batch.retracted) == sorted(gone)


def test_an_older_record_after_a_retraction_in_the_batch_does_not_count() -> None:
    batch = gather([[row("a", 5)], [row("a", 7, None)], [row("a", 6)]])["t"]
    assert (batch.lines, batch.retracted) == ([], [("a", 7)])
    batch = gather([[row("a", 7, None)], [row("a", 8, b"new\n")]])["t"]
    assert (batch.lines, batch.retracted) == ([b"new\n"], [])


@given(items, st.integers(1, 5), st.integers(1, 100))
def test_a_submission_is_cut_in_order_and_within_its_bounds(
    items: list[Item], max_rows: int, max_bytes: int
) -> None:
    parts = cut(StoreHandle(len(items)), items, None, max_rows, max_bytes)
    assert [item for part in parts for item in part.items] == items
    for part in parts:
        assert list(part.items) == items[part.first : part.first + len(part.items)]
        assert len(part.items) <= max_rows
        assert part.size <= max_bytes or len(part.items) == 1


@given(items.filter(lambda some: len(some) > 1), st.integers(1, 5))
def test_halves_hold_everything_once_and_in_order(items: list[Item], max_rows: int) -> None:
    parts = cut(StoreHandle(len(items)), items, 3, max_rows, 1_000_000)
    both = list(halves(parts))
    assert len(both) == 2
    assert all(half and half[0].items for half in both)
    found = [(part.first, item) for half in both for part in half for item in part.items]
    assert [item for _, item in found] == items
    assert {part.lock for half in both for part in half} == {3}
    for half in both:
        for part in half:
            assert list(part.items) == items[part.first : part.first + len(part.items)]


def test_a_handle_is_done_when_every_item_is_answered_for() -> None:
    assert StoreHandle(0).done()
    handle = StoreHandle(3)
    handle.settle(1, [RowError(2, "22001")])
    assert not handle.done()
    with pytest.raises(TimeoutError):
        handle.result(0)
    handle.settle(2)
    result = handle.result(0)
    assert (result.accepted, result.failed) == (2, [RowError(2, "22001")])


def error(code: str) -> psycopg.Error:
    return psycopg.errors.lookup(code)()


@pytest.mark.parametrize("code", ["22001", "22003", "22P02", "22P05", "23502", "23514", "54000"])
def test_errors_that_a_row_is_to_blame_for(code: str) -> None:
    assert is_row_error(error(code))


@pytest.mark.parametrize(
    "code",
    [
        *("08006", "57P01", "57P02", "57P03", "57014", "53100", "53200", "53300", "40001"),
        *("40P01", "55P03", "25006", "25P03", "58030", "XX000", "28P01", "42501", "42P01", "42703"),
    ],
)
def test_errors_that_end_by_themselves_or_by_a_persons_hand(code: str) -> None:
    assert not is_row_error(error(code))


def test_a_lost_connection_has_no_code_and_is_an_outage() -> None:
    lost = psycopg.OperationalError("server closed the connection unexpectedly")
    assert is_outage(lost)
    assert not is_row_error(lost)
    assert is_outage(error("53100"))
    assert not is_outage(error("42P01"))


def test_what_only_a_person_can_end_is_told_as_an_error() -> None:
    assert is_refusal(error("42501"))
    assert is_refusal(error("28P01"))
    assert not is_refusal(error("57P01"))


@given(st.text(), st.text())
def test_a_lock_is_a_64_bit_number_of_its_source(one: str, other: str) -> None:
    assert -(2**63) <= lock_key(one) < 2**63
    assert (lock_key(one) == lock_key(other)) == (one == other)


def test_each_table_has_one_upsert_by_its_key() -> None:
    for table in TABLES.values():
        made = TableStatements(table, "s").upsert.as_string(None)
        assert f'INSERT INTO "s"."{table.name}"' in made
        assert f'ON CONFLICT ("{table.key}") DO UPDATE' in made
        assert ("excluded.version > t.version" in made) == table.versioned
        assert (RETRACTED_SESSIONS.name in made) == table.versioned


def test_queries_have_names_of_their_own_that_no_table_has() -> None:
    names = [query.view for query in QUERIES]
    assert len(set(names)) == len(names)
    assert not {table.name for table in [*TABLES.values(), RETRACTED_SESSIONS]} & set(names)
