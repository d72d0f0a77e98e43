"""A shop's clicks and transactions, captured from its database: ten panels."""

from webevents.kibana.dashboards import parts as p
from webevents.kibana.model import (
    All,
    Dashboard,
    Exists,
    Is,
    Layer,
    Lens,
    Metric,
    Not,
    Records,
    Row,
    Terms,
    Time,
)

_CLICKS, _TRANSACTIONS = "clicks", "transactions"
_KEYWORDS = All((Exists("search_keywords"), Not(Is("search_keywords", ("",)))))

SHOP = Dashboard(
    "shop",
    "Clicks and transactions",
    "What the shop's database says: clicks, and transactions in rupiah.",
    (
        Row(
            8,
            (
                p.number("Click records", _CLICKS, Metric("Clicks")),
                p.number("Transaction records", _TRANSACTIONS, Metric("Transactions")),
                p.number(
                    "Total sale (rupiah)",
                    _TRANSACTIONS,
                    Metric("All transactions", "sum", "total_amount"),
                    Metric("paid", "sum", "total_amount", Is("payment_status", ("Success",))),
                ),
            ),
        ),
        Row(
            13,
            (
                Lens(
                    "Search keywords",
                    "cloud",
                    (
                        Layer(
                            _CLICKS,
                            (Metric("Clicks"),),
                            (Terms("search_keywords", "Keyword", 100),),
                        ),
                    ),
                    _KEYWORDS,
                ),
                p.donut(
                    "Click sources", _CLICKS, Terms("traffic_source", "Source"), Metric("Clicks")
                ),
                p.donut("Event names", _CLICKS, Terms("event_name", "Event", 20), Metric("Clicks")),
            ),
        ),
        Row(
            12,
            (
                Lens(
                    "Clicks vs transactions per minute",
                    "line",
                    (
                        Layer(_CLICKS, (Metric("Clicks"),), (Time("1m"),)),
                        Layer(_TRANSACTIONS, (Metric("Transactions"),), (Time("1m"),)),
                    ),
                ),
                p.donut(
                    "Payment methods",
                    _TRANSACTIONS,
                    Terms("payment_method", "Method", 20),
                    Metric("Transactions"),
                ),
            ),
        ),
        Row(
            13,
            (
                Lens(
                    "Transactions per 10 minutes",
                    "line",
                    (
                        Layer(
                            _TRANSACTIONS,
                            (
                                Metric("Customers", "unique_count", "customer_id"),
                                Metric("Quantity", "sum", "quantity"),
                                Metric("Products", "unique_count", "product_id"),
                                Metric("Cost (rupiah)", "sum", "total_amount"),
                            ),
                            (Time("10m"),),
                            right=("Cost (rupiah)",),
                        ),
                    ),
                ),
                Lens(
                    "Click event names",
                    "bars",
                    (
                        Layer(
                            _CLICKS,
                            (Metric("Clicks"),),
                            (Terms("event_name", "Event", 20), Time()),
                        ),
                    ),
                ),
            ),
        ),
        Row(
            16,
            (
                Records(
                    "Newest transactions",
                    _TRANSACTIONS,
                    (
                        *("booking_id", "customer_id", "payment_method", "payment_status"),
                        *("product_id", "quantity", "total_amount"),
                    ),
                ),
            ),
        ),
    ),
    since="now-24h",
    refresh_s=5,
    only_with=(_CLICKS, _TRANSACTIONS),
)
