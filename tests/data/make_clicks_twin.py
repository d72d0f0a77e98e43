"""Makes the synthetic twin of the Fashion Campus day: its columns, none of its data.

``python tests/data/make_clicks_twin.py`` writes ``twin-clicks.csv`` and ``twin-transactions.csv``
beside itself; one seed gives the same files, byte by byte. Names, prices and places are made up.
"""

import csv
import io
import random
import sys
import uuid
from pathlib import Path

SEED = 20_260_131
SESSIONS = 50

CLICK_COLUMNS = (
    *("session_id", "event_name", "event_id", "traffic_source", "product_id", "quantity"),
    *("item_price", "payment_status", "search_keywords", "promo_code", "promo_amount"),
    "event_offset",
)
TRANSACTION_COLUMNS = (
    *("customer_id", "booking_id", "session_id", "payment_method", "payment_status"),
    *("promo_amount", "promo_code", "shipment_fee", "shipment_location_lat"),
    *("shipment_location_long", "total_amount", "product_id", "quantity", "item_price"),
    "event_offset",
)
EVENTS = {
    "HOMEPAGE": 20,
    "CLICK": 22,
    "SCROLL": 15,
    "SEARCH": 10,
    "ITEM_DETAIL": 10,
    "ADD_TO_CART": 12,
    "PROMO_PAGE": 6,
    "ADD_PROMO": 1,
}
KEYWORDS = ("green scarf", "rain boots", "linen shirt, white", 'the "soft" sock', "mütze")
PROMOS = ("TWIN10", "TWIN25")
METHODS = ("Card", "Wallet", "Transfer")

Row = dict[str, object]


def make(seed: int = SEED, sessions: int = SESSIONS) -> tuple[str, str]:
    """The text of the two files: clicks, and the transactions of the same sessions."""
    random_ = random.Random(seed)
    clicks: list[tuple[int, Row]] = []
    transactions: list[tuple[int, Row]] = []
    for _ in range(sessions):
        _visit(random_, clicks, transactions)
    return _table(CLICK_COLUMNS, clicks), _table(TRANSACTION_COLUMNS, transactions)


def _uuid(random_: random.Random) -> str:
    return str(uuid.UUID(int=random_.getrandbits(128), version=4))


def _visit(
    random_: random.Random, clicks: list[tuple[int, Row]], transactions: list[tuple[int, Row]]
) -> None:
    session, at = _uuid(random_), random_.randrange(60_000)
    source = random_.choices(("MOBILE", "WEB"), (9, 1))[0]
    cart: list[Row] = []
    promo: Row = {}

    def click(name: str, **cells: object) -> None:
        nonlocal at
        row = {"session_id": session, "event_name": name, "event_id": _uuid(random_)}
        clicks.append((at, {**row, "traffic_source": source, **cells}))
        at += random_.randrange(300)

    for name in random_.choices(tuple(EVENTS), tuple(EVENTS.values()), k=random_.randint(2, 17)):
        if name == "ADD_TO_CART":
            item: Row = {
                "product_id": random_.randint(1, 9_999),
                "quantity": random_.choices((1, 2, 3), (8, 2, 1))[0],
                "item_price": random_.randint(20_000, 400_000),
            }
            cart.append(item)
            # As in tables whose empty cells made a program take integers for fractions.
            click(name, **{column: f"{value}.0" for column, value in item.items()})
        elif name == "SEARCH":
            click(name, search_keywords=random_.choice(KEYWORDS))
        elif name == "ADD_PROMO":
            amount = random_.randint(1_000, 9_000)
            promo = {"promo_code": random_.choice(PROMOS), "promo_amount": amount}
            click(name, promo_code=promo["promo_code"], promo_amount=f"{amount}.0")
        else:
            click(name)
    if not cart:
        return
    status = random_.choices(("Success", "Failed"), (15, 1))[0]
    fee = random_.choice((0, 5_000, 10_000))
    order: Row = {
        "customer_id": random_.randint(1, 99_999),
        "booking_id": _uuid(random_),
        "session_id": session,
        "payment_method": random_.choice(METHODS),
        "payment_status": status,
        "promo_amount": 0,
        **promo,
        "shipment_fee": fee,
        "shipment_location_lat": round(random_.uniform(-9, 5), 6),
        "shipment_location_long": round(random_.uniform(95, 140), 6),
    }
    goods = sum(int(str(item["item_price"])) * int(str(item["quantity"])) for item in cart)
    order["total_amount"] = goods + fee - int(str(order["promo_amount"]))
    transactions.extend((at, {**order, **item}) for item in cart)
    click("BOOKING", payment_status=status)


def _table(columns: tuple[str, ...], rows: list[tuple[int, Row]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    before = 0
    for at, row in sorted(rows, key=lambda pair: pair[0]):
        writer.writerow({**row, "event_offset": at - before})
        before = at
    return text.getvalue()


if __name__ == "__main__":
    folder = Path(__file__).parent
    for name, text in zip(("twin-clicks.csv", "twin-transactions.csv"), make(), strict=True):
        (folder / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{name}: {text.count(chr(10)) - 1} rows\n")
