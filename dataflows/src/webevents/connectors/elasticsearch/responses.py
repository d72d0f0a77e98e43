"""Reading the answer to a bulk request: what was taken, what to repeat, what failed and why."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import msgspec

from webevents.events.event import told_name

RESPONSE_FILTER = ",".join(
    (
        "errors",
        "items.*.status",
        "items.*.error.type",
        "items.*.error.reason",
        "items.*.error.caused_by.type",
    )
)
"""The ``filter_path`` of a bulk request: all that is read of its answer."""


class ItemError(NamedTuple):
    """A document that the destination refused for good."""

    position: int
    """Its place among the submitted documents."""
    status: int
    type: str
    """Elasticsearch's name of the error, such as document_parsing_exception."""
    reason: str
    """The cause's type and the field's name; never a value of the document."""


class _Cause(msgspec.Struct):
    type: str = ""


class _Error(msgspec.Struct):
    type: str = ""
    reason: str | None = None
    caused_by: _Cause | None = None


class _Item(msgspec.Struct):
    status: int
    error: _Error | None = None


class _Head(msgspec.Struct):
    errors: bool


class _Answer(msgspec.Struct):
    items: list[dict[str, _Item]]


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode


class Verdict(Enum):
    """What becomes of an item."""

    TAKEN = "taken"
    REPEAT = "repeat"
    FAILED = "failed"


@dataclass(slots=True)
class Answer:
    """What became of the items of a bulk request; places count within the request."""

    repeat: list[int]
    failed: list[ItemError]
    trouble: str | None
    """Error type of an item that is to be repeated."""


def read_answer(body: bytes, size: int) -> Answer:
    """Read the answer of a bulk request with status 200.

    :param size: number of items in the request.
    :raises ValueError: when it is no answer to a bulk request of that size.
    """
    try:
        if not _decode_head(body).errors:
            return Answer([], [], None)
        items = _decode_answer(body).items
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ValueError("the answer is not that of a bulk request") from None
    if len(items) != size:
        raise ValueError(f"the answer has {len(items)} items for {size}")
    answer = Answer([], [], None)
    for place, members in enumerate(items):
        ((action, item),) = members.items()
        verdict = judge(action, item.status, item.error)
        if verdict is Verdict.FAILED:
            assert item.error
            reason = describe(item.error)
            answer.failed.append(ItemError(place, item.status, item.error.type, reason))
        elif verdict is Verdict.REPEAT:
            answer.repeat.append(place)
            answer.trouble = (item.error and item.error.type) or f"status {item.status}"
    return answer


REFUSED_REQUESTS = {
    "action_request_validation_exception",
    "illegal_argument_exception",
    "parse_exception",
    "parsing_exception",
    "json_parse_exception",
    "x_content_parse_exception",
}
"""Errors of a whole request with status 400 that one of its documents may have caused; any other
(such as a media type that is not understood) is no fault of a document."""


class _Refusal(msgspec.Struct):
    error: _Error


_decode_refusal = msgspec.json.Decoder(_Refusal).decode


def error_type(body: bytes) -> str:
    """The error type in the answer to a refused request; empty where it has none."""
    try:
        return _decode_refusal(body).error.type
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


_OUTAGE_TYPES = {
    # The cluster may hold no more shards (cluster.max_shards_per_node).
    "validation_exception",
    # No index is made by itself (action.auto_create_index).
    "index_not_found_exception",
}
"""Errors with a status of 4xx that are no fault of the document: they end when the cluster is put
right, and would send every event to failed events until then."""


def judge(action: str, status: int, error: _Error | None) -> Verdict:
    """Decide what becomes of an item.

    :param action: index, create, update or delete.
    :param status: the item's own status.
    """
    if error is None or status < 300:
        # A document to be deleted that is not there (404) has no error.
        return Verdict.TAKEN
    if status == 409 and error.type == "version_conflict_engine_exception":
        return Verdict.TAKEN  # the same version or a newer one is there
    if status == 404 and action == "delete":
        return Verdict.TAKEN
    if status in (401, 403):
        # A block of one index (made read-only, frozen) is there to stay; any other refusal is of
        # the credentials or the whole cluster.
        blocked = error.type == "cluster_block_exception"
        of_index = (error.reason or "").startswith("index [")
        return Verdict.FAILED if blocked and of_index else Verdict.REPEAT
    if status == 429 or status >= 500 or error.type in _OUTAGE_TYPES:
        return Verdict.REPEAT
    return Verdict.FAILED


_NAME = r"\[([^\[\]]{1,200})\]"
_FIELD_PATTERNS: Sequence[re.Pattern[str]] = tuple(
    re.compile(r"^(?:\[[0-9]+:[0-9]+\] )?" + pattern)
    for pattern in (
        rf"failed to parse field {_NAME} of type {_NAME}",
        rf"mapping set to strict, dynamic introduction of {_NAME}",
        rf"object mapping for {_NAME}",
        r'Document contains at least one immense term in field="([^"]{1,200})"',
        rf"Flattened field {_NAME}",
    )
)
"""How Elasticsearch's reasons begin where they name a field; what follows may hold values."""


def describe(error: _Error) -> str:
    """Say why a document was refused, beside the error's type and without any value."""
    said = []
    if error.caused_by and error.caused_by.type not in ("", error.type):
        said.append(error.caused_by.type)
    for pattern in _FIELD_PATTERNS:
        found = pattern.match(error.reason or "")
        if found:
            of_type = f" of type {found[2]}" if len(found.groups()) > 1 else ""
            said.append(f"field {told_name(found[1])}{of_type}")
            break
    return ", ".join(said) or "no field named"
