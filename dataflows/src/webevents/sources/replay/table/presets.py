"""The tables of the Fashion Campus shop: clicks and transactions as its database has them."""

from typing import Any

from webevents.connectors.postgres.target import TableName
from webevents.logic.rows.tables import Column
from webevents.sources.replay.presets import CLICKS, TRANSACTIONS
from webevents.sources.replay.table.settings import TableTarget

CREATED_AT = "created_at"

TABLE_PRESETS: dict[str, dict[str, Any]] = {
    CLICKS: {"mapping": {"drop": ["event_offset"]}, "offset_column": "event_offset"},
    TRANSACTIONS: {
        "mapping": {
            "rename": {"shipment_location_long": "shipment_location_lon"},
            "drop": ["event_offset"],
        },
        "offset_column": "event_offset",
    },
}
"""How the files are read, by the presets' names; see :data:`webevents.sources.replay.PRESETS`."""


def _shop_table(name: str, *columns: tuple[str, str]) -> TableTarget:
    made = (
        Column("id", "serial"),
        *(Column(*column) for column in columns),
        Column(CREATED_AT, "timestamp", "DEFAULT now()"),
    )
    return TableTarget(
        TableName("public", name), timestamp=CREATED_AT, columns=made, primary_key=("id",)
    )


DEFINITIONS: dict[str, TableTarget] = {
    CLICKS: _shop_table(
        "clicks",
        ("session_id", "text"),
        ("event_name", "varchar(20)"),
        ("event_id", "text"),
        ("traffic_source", "varchar(15)"),
        ("product_id", "int"),
        ("quantity", "int"),
        ("item_price", "float"),
        ("payment_status", "varchar(15)"),
        ("search_keywords", "varchar(50)"),
        ("promo_code", "varchar(20)"),
        ("promo_amount", "float"),
    ),
    TRANSACTIONS: _shop_table(
        "transactions",
        ("customer_id", "int"),
        ("booking_id", "text"),
        ("session_id", "text"),
        ("payment_method", "varchar(50)"),
        ("payment_status", "varchar(15)"),
        ("promo_amount", "float"),
        ("promo_code", "varchar(20)"),
        ("shipment_fee", "float"),
        ("shipment_location_lat", "text"),
        ("shipment_location_lon", "text"),
        ("total_amount", "float"),
        ("product_id", "int"),
        ("quantity", "int"),
        ("item_price", "float"),
    ),
}
"""The tables by the presets' names."""
