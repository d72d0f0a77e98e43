"""The named queries over the tables: each is a view, and what ``webevents query NAME`` shows.

Times are in UTC, as the tables hold them. Shares are percentages that add up to 100.00 exactly, by
the method of the largest remainder; what is not known is a row of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from webevents.logic.rows.tables import (
    PROCESSED_EVENTS,
    SESSION_EVENTS_AGGREGATED_IP,
    SESSION_METRICS,
    Table,
)


@dataclass(frozen=True, slots=True)
class Query:
    """One named query."""

    name: str
    title: str
    table: Table
    text: str
    """SQL; ``{table}`` stands for the table."""
    limit: int | None = None
    """Rows that the view has at most."""

    @property
    def view(self) -> str:
        """The view's name."""
        return self.name.replace("-", "_")

    def sql(self, schema: str, limit: int | None) -> sql.Composed:
        """The query as SQL.

        :param schema: where the table is.
        :param limit: rows at most; all of them when None.
        """
        text = sql.SQL(self.text).format(table=sql.Identifier(schema, self.table.name))
        if limit is not None:
            text += sql.SQL(" LIMIT {}").format(sql.Literal(limit))
        return text


def _with_share(expression: str, name: str, order: str) -> str:
    """Events by an expression, with their count and share."""
    return f"""
WITH counts AS (
  SELECT {expression} AS {name}, count(*) AS events FROM {{table}} GROUP BY 1
), parts AS (
  SELECT {name}, events, events * 10000 / sum(events) OVER () AS exact FROM counts
), ranked AS (
  SELECT {name}, events, floor(exact) AS whole,
    row_number() OVER (ORDER BY exact - floor(exact) DESC, {name}) AS place,
    10000 - sum(floor(exact)) OVER () AS missing
  FROM parts
)
SELECT {name}, events, ((whole + (place <= missing)::integer) / 100)::numeric(5, 2) AS percent
FROM ranked ORDER BY {order}"""  # noqa: S608 - constants of this module


def _place(member: str) -> str:
    return f"coalesce(geodata::json ->> '{member}', 'unknown')"


QUERIES: tuple[Query, ...] = (
    Query(
        "last-sessions",
        "The sessions with the newest events",
        SESSION_METRICS,
        """
SELECT session_id, user_id, total_events, first_event_timestamp, last_event_timestamp,
  session_duration_minutes, unique_pages_count, total_revenue
FROM {table} ORDER BY last_event_timestamp DESC NULLS LAST, session_id""",
        limit=10,
    ),
    Query(
        "session-totals",
        "Totals and averages of all sessions",
        SESSION_METRICS,
        """
SELECT count(*) AS sessions, count(DISTINCT user_id) AS users,
  coalesce(sum(total_events), 0) AS events,
  round(avg(total_events), 2) AS events_per_session,
  coalesce(sum(total_revenue), 0) AS revenue,
  round(avg(total_revenue), 2) AS revenue_per_session,
  round(avg(session_duration_minutes)::numeric, 2) AS minutes_per_session
FROM {table}""",
    ),
    Query(
        "events-by-host-and-date",
        "Events by host and date",
        PROCESSED_EVENTS,
        """
SELECT coalesce(host, 'unknown') AS host, event_timestamp::date AS date, count(*) AS events
FROM {table} GROUP BY 1, 2 ORDER BY host, date""",
    ),
    Query(
        "events-by-country",
        "Events by country, with their share",
        PROCESSED_EVENTS,
        _with_share(_place("country"), "country", "events DESC, country"),
    ),
    Query(
        "events-by-state",
        "Events by state, with their share",
        PROCESSED_EVENTS,
        _with_share(
            f"concat_ws(' / ', {_place('country')}, {_place('state')})",
            "state",
            "events DESC, state",
        ),
    ),
    Query(
        "events-by-hour",
        "Events by hour of the day (UTC), with their share",
        PROCESSED_EVENTS,
        _with_share("extract(hour FROM event_timestamp)::integer", "hour", "hour"),
    ),
    Query(
        "sessions-by-ip-and-host",
        "Sessions by address and host",
        SESSION_EVENTS_AGGREGATED_IP,
        """
SELECT ip, host, count(*) AS sessions, sum(web_events)::bigint AS events
FROM {table} GROUP BY ip, host ORDER BY sessions DESC, events DESC, ip, host""",
    ),
    Query(
        "session-events-by-host-and-date",
        "Events in sessions by host and date of the session's start",
        SESSION_EVENTS_AGGREGATED_IP,
        """
SELECT host, start_session::date AS date, sum(web_events)::bigint AS events, count(*) AS sessions
FROM {table} GROUP BY 1, 2 ORDER BY host, date""",
    ),
    Query(
        "events-per-session-by-host",
        "Average number of events of a session, by host",
        SESSION_EVENTS_AGGREGATED_IP,
        """
SELECT host, count(*) AS sessions, sum(web_events)::bigint AS events,
  round(avg(web_events), 2) AS events_per_session
FROM {table} GROUP BY host ORDER BY events_per_session DESC, host""",
    ),
)
"""The queries that the reference systems publish, over the tables that ours have."""


def queries_of(tables: Sequence[Table]) -> list[Query]:
    """The queries that these tables can answer."""
    return [query for query in QUERIES if query.table in tables]
