"""Settings for well-known files: the day of clicks and transactions of the Fashion Campus shop."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from webevents.errors import UserError

CLICKS = "fashion-campus-clicks"
TRANSACTIONS = "fashion-campus-transactions"

PRESETS: dict[str, dict[str, Any]] = {
    CLICKS: {
        "mapping": {
            "rename": {
                "event_name": "event_type",
                "item_price": "price",
                "search_keywords": "search_query",
            },
            "types": {"product_id": "int", "promo_amount": "float"},
            # The shop is Indonesian: its amounts are rupiah.
            "constants": {"currency": "IDR"},
            "drop": ["event_offset"],
        },
        "offset_column": "event_offset",
        "key_fields": ["session_id"],
    },
    TRANSACTIONS: {
        "mapping": {
            "rename": {
                "customer_id": "user_id",
                "booking_id": "order_id",
                "item_price": "price",
            },
            # One row per product: total_amount is the booking's and repeats on its rows, so it
            # does not become the event's revenue, which sessions add up.
            "types": {
                "product_id": "int",
                "promo_amount": "int",
                "shipment_fee": "int",
                "total_amount": "int",
            },
            "constants": {"event_type": "transaction", "currency": "IDR"},
            "drop": ["event_offset"],
            "event_id": "transaction-{hash}",
        },
        "offset_column": "event_offset",
        "key_fields": ["session_id"],
    },
}
"""Settings by name, as :func:`webevents.sources.replay.replay_settings` takes them."""

_MERGED = ("rename", "types", "constants")


def with_preset(
    name: str | None,
    values: dict[str, Any],
    presets: Mapping[str, dict[str, Any]] = PRESETS,
) -> dict[str, Any]:
    """A preset's settings with a person's own on top.

    The mapping is laid over part by part: ``rename``, ``types`` and ``constants`` entry by entry,
    ``drop`` is added to.

    :param name: one of the presets; None: only the own settings.
    :param values: the own settings, by the names of :class:`ReplaySettings`' attributes.
    :param presets: settings by name.
    :raises UserError: when there is no such preset.
    """
    if name is None:
        return values
    if name not in presets:
        near = get_close_matches(name, presets, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(presets)}"
        raise UserError(f"there is no preset {name}; {hint}")
    preset = presets[name]
    own: dict[str, Any] = values.get("mapping", {})
    mapping = preset["mapping"] | own
    for part in _MERGED:
        mapping[part] = preset["mapping"].get(part, {}) | own.get(part, {})
    mapping["drop"] = [*preset["mapping"]["drop"], *own.get("drop", ())]
    merged = {**preset, **values, "mapping": mapping}
    if values.get("time_column"):
        merged["offset_column"] = values.get("offset_column")
    return merged
