"""Rows of session records."""

from collections.abc import Callable, Sequence

import msgspec

from webevents.events.event import InvalidEvent
from webevents.logic.rows.tables import SESSION_EVENTS_AGGREGATED_IP, SESSION_METRICS, Row, Table
from webevents.logic.rows.values import (
    MAX_BIGINT,
    decimal,
    double,
    inet,
    integer,
    jsonb,
    line,
    refused,
    text,
    timestamp,
)

MAX_VARCHAR = 255
"""Of session_id and user_id."""


class _Session(msgspec.Struct, gc=False):
    """What the tables need of a session record."""

    session_id: str
    version: int
    first_event_timestamp: str
    last_event_timestamp: str = ""
    retracted: bool = False
    pipeline: str | None = None
    user_id: str | None = None
    total_events: int = 0
    event_type_counts: dict[str, int] = {}
    session_duration_minutes: float = 0.0
    unique_pages_count: int = 0
    unique_pages: list[str] = []
    total_revenue: float = 0.0
    products_viewed_count: int = 0
    products_viewed: list[str] = []
    search_queries: list[str] = []
    unique_referrers_count: int = 0
    referrers: list[str] = []
    user_agent: str | None = None
    ip_address: str | None = None
    host: str | None = None


class SessionRows:
    """Builds the rows of session records; the highest version of a session holds.

    :param tables: those that are written; the ones that are not of sessions are passed over.
    """

    def __init__(self, tables: Sequence[Table]) -> None:
        self._builders = [(t.name, _LINES[t.name]) for t in tables if t.name in _LINES]
        self._decode = msgspec.json.Decoder(_Session).decode

    def build(self, raw: bytes) -> list[Row]:
        """Make the rows of one session record; those of a retraction have no line.

        :param raw: the message's value, as the sessionize stage wrote it.
        :raises webevents.events.event.InvalidEvent: when it is no session record, or a table
            cannot hold it; then it is stored in none of them.
        """
        try:
            session = self._decode(raw)
        except msgspec.ValidationError as error:
            raise InvalidEvent("wrong_type", str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidEvent("invalid_json", "not one JSON object in UTF-8") from None
        key, version = session.session_id, session.version
        if not key:
            raise InvalidEvent("missing_field", "session_id is empty")
        text("session_id", key, MAX_VARCHAR)
        if not 0 <= version <= MAX_BIGINT:
            raise refused("version", "out of the range of the column's type")
        if session.retracted:
            return [Row(table, key, version, None) for table, _ in self._builders]
        if not session.last_event_timestamp:
            raise InvalidEvent("missing_field", "last_event_timestamp is missing")
        return [Row(table, key, version, make(session)) for table, make in self._builders]


def _session_metrics(s: _Session) -> bytes:
    return line(
        (
            text("session_id", s.session_id, MAX_VARCHAR),
            text("user_id", s.user_id, MAX_VARCHAR),
            integer("total_events", s.total_events),
            jsonb("event_type_counts", s.event_type_counts),
            timestamp("first_event_timestamp", s.first_event_timestamp),
            timestamp("last_event_timestamp", s.last_event_timestamp),
            double(s.session_duration_minutes),
            integer("unique_pages_count", s.unique_pages_count),
            jsonb("unique_pages", s.unique_pages),
            decimal("total_revenue", s.total_revenue, 10, 2),
            integer("products_viewed_count", s.products_viewed_count),
            jsonb("products_viewed", s.products_viewed),
            jsonb("search_queries", s.search_queries),
            integer("unique_referrers_count", s.unique_referrers_count),
            jsonb("referrers", s.referrers),
            text("user_agent", s.user_agent),
            inet("ip_address", s.ip_address),
            text("pipeline", s.pipeline),
            str(s.version),
        )
    )


def _session_events_aggregated_ip(s: _Session) -> bytes:
    return line(
        (
            text("session_id", s.session_id, MAX_VARCHAR),
            timestamp("start_session", s.first_event_timestamp),
            timestamp("end_session", s.last_event_timestamp),
            text("ip", s.ip_address),
            text("host", s.host),
            integer("web_events", s.total_events, MAX_BIGINT),
            text("pipeline", s.pipeline),
            str(s.version),
        )
    )


_LINES: dict[str, Callable[[_Session], bytes]] = {
    SESSION_METRICS.name: _session_metrics,
    SESSION_EVENTS_AGGREGATED_IP.name: _session_events_aggregated_ip,
}
