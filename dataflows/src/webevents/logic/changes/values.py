"""From the values of a change to values of JSON that people and search engines read.

A value's kind is told by the name of its schema, which Kafka Connect's JSON converter sends with
the message (``schemas.enable=true``); without it numbers stay what they are. The names are those
of Kafka Connect (``org.apache.kafka.connect.data``) and Debezium (its documentation of the
PostgreSQL connector, "Data type mappings").
"""

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

Convert = Callable[[Any], Any]

UNAVAILABLE = "__debezium_unavailable_value"
"""What Debezium puts for a large value that an update left as it was (its default
``unavailable.value.placeholder``)."""

_EPOCH = datetime(1970, 1, 1)
_EPOCH_DAY = date(1970, 1, 1)


def _moment(per_second: int) -> Convert:
    """Numbers of ticks since 1970; a time without a zone is UTC, as everywhere in a pipeline."""

    def convert(value: Any) -> str:
        seconds, ticks = divmod(int(value), per_second)
        # Beyond microseconds nothing is kept: datetime, and PostgreSQL, have no more.
        micros = ticks * 1_000_000 // per_second
        return _write(_EPOCH + timedelta(seconds=seconds, microseconds=micros))

    return convert


def _write(moment: datetime) -> str:
    return f"{moment.isoformat(timespec='microseconds')}Z"


def _zoned(value: Any) -> str:
    moment = datetime.fromisoformat(value)
    return _write(moment.astimezone(UTC).replace(tzinfo=None))


def _day(value: Any) -> str:
    return (_EPOCH_DAY + timedelta(days=int(value))).isoformat()


def _time_of_day(per_second: int) -> Convert:
    def convert(value: Any) -> str:
        moment = _EPOCH + timedelta(microseconds=int(value) * 1_000_000 // per_second)
        return moment.time().isoformat()

    return convert


def _unscaled(text: Any) -> int:
    return int.from_bytes(base64.b64decode(text, validate=True), "big", signed=True)


def _exact(unscaled: int, scale: int) -> Decimal:
    # Written out: arithmetic (scaleb) would round to the 28 digits of decimal's context.
    return Decimal(f"{unscaled}E{-scale}")


def _decimal(scale: int) -> Convert:
    return lambda value: _exact(_unscaled(value), scale)


def _variable_scale(value: Any) -> Decimal:
    return _exact(_unscaled(value["value"]), int(value["scale"]))


_BY_NAME: Mapping[str, Convert] = {
    "io.debezium.time.Date": _day,
    "io.debezium.time.Time": _time_of_day(1_000),
    "io.debezium.time.MicroTime": _time_of_day(1_000_000),
    "io.debezium.time.NanoTime": _time_of_day(1_000_000_000),
    "io.debezium.time.Timestamp": _moment(1_000),
    "io.debezium.time.MicroTimestamp": _moment(1_000_000),
    "io.debezium.time.NanoTimestamp": _moment(1_000_000_000),
    "io.debezium.time.ZonedTimestamp": _zoned,
    "org.apache.kafka.connect.data.Date": _day,
    "org.apache.kafka.connect.data.Time": _time_of_day(1_000),
    "org.apache.kafka.connect.data.Timestamp": _moment(1_000),
    "io.debezium.data.VariableScaleDecimal": _variable_scale,
}


def _converter(schema: Mapping[str, Any]) -> Convert | None:
    """How to convert values of a schema; None where they stay as they are."""
    name = schema.get("name")
    if name == "org.apache.kafka.connect.data.Decimal":
        return _decimal(int(schema["parameters"]["scale"]))
    if isinstance(name, str) and name in _BY_NAME:
        return _BY_NAME[name]
    if schema.get("type") == "array":
        inner = _converter(schema["items"])
        if inner is not None:
            return lambda values: [None if each is None else inner(each) for each in values]
    return None


def converters(schema: Mapping[str, Any]) -> dict[str, Convert]:
    """The columns of an envelope's schema whose values are to be converted.

    :param schema: the ``schema`` of a change's message.
    :raises KeyError, TypeError, ValueError, AttributeError: when it is no schema of an envelope.
    """
    for part in schema["fields"]:
        if part["field"] == "after":
            return {
                column["field"]: convert
                for column in part["fields"]
                if (convert := _converter(column)) is not None
            }
    raise ValueError("no schema of the row after the change")


def convert_row(row: Mapping[str, Any], by_column: Mapping[str, Convert]) -> dict[str, Any]:
    """A row with its values converted; NULL stays None.

    :raises ValueError: when a value is not of its schema; names the column.
    """
    made = dict(row)
    for column, convert in by_column.items():
        value = made.get(column)
        if value is None or value == UNAVAILABLE:
            continue
        try:
            made[column] = convert(value)
        except (ValueError, TypeError, KeyError, OverflowError, ArithmeticError):
            raise ValueError(
                f"column {column} has a value that its schema does not allow"
            ) from None
    return made
