"""The tables of docs/enrichment.md are those of the code."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from webevents.events.fields import BY_NAME
from webevents.logic.enrich import geo, traffic, user_agent
from webevents.logic.enrich.bots import REASONS
from webevents.logic.enrich.channel_rules import CLICK_IDS, REFERRER_CHANNELS, RULES, UNASSIGNED
from webevents.logic.enrich.services import SERVICES
from webevents.spec.enrich import ENRICHED_FIELDS

PAGE = Path(__file__).parents[2] / "docs" / "enrichment.md"

FROM = {
    **dict.fromkeys(traffic.OUTPUTS, "traffic"),
    **dict.fromkeys(user_agent.OUTPUTS, "user agent"),
    **dict.fromkeys(geo.OUTPUTS, "place"),
    "user_email_domain": "visitor",
}


def table(head: str, rows: Iterable[tuple[str, ...]]) -> str:
    titles = head.split("|")
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def rule_rows() -> Iterable[tuple[str, ...]]:
    for number, rule in enumerate(RULES, 1):
        yield str(number), rule.channel, rule.says, "ours" if rule.ours else ""
    yield str(len(RULES) + 1), UNASSIGNED, "anything else", ""


TABLES = {
    "fields": table(
        "field|from|what it is",
        ((f"`{name}`", FROM[name], BY_NAME[name].doc) for name in ENRICHED_FIELDS),
    ),
    "rules": table("#|channel|holds when|", rule_rows()),
    "referrer channels": table(
        "`referer_medium`|channel", ((f"`{m}`", c) for m, c in REFERRER_CHANNELS.items())
    ),
    "click identifiers": table(
        "parameter|source|medium",
        ((f"`{click.parameter}`", click.source, click.medium) for click in CLICK_IDS),
    ),
    "services": table(
        "`referer_medium`|`referer_name`|hosts|search term|`utm_source` beside name and hosts",
        ((s.medium, s.name, code(s.hosts), code(s.terms), code(s.aliases)) for s in SERVICES),
    ),
    "geo sources": table("`geo_source`|meaning", ((f"`{k}`", v) for k, v in geo.SOURCES.items())),
    "bot reasons": table("`bot_reason`|meaning", ((f"`{k}`", v) for k, v in REASONS.items())),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_page_holds_the_tables_of_the_code(name: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert TABLES[name] in text, f"put this table into {PAGE.name}:\n{TABLES[name]}"


def test_every_field_that_enrichment_makes_is_a_known_field() -> None:
    assert set(ENRICHED_FIELDS) == set(FROM)
    assert set(ENRICHED_FIELDS) <= set(BY_NAME)
    made = {field.name for field in BY_NAME.values() if field.added}
    assert made - {"event_timestamp_original"} <= set(ENRICHED_FIELDS)
