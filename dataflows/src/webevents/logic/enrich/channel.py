"""The channel of a visit: by its campaign, its click identifiers, or else its referrer."""

from collections.abc import Mapping

from webevents.logic.enrich.channel_rules import (
    CLICK_IDS,
    DIRECT_SOURCES,
    NO_MEDIA,
    REFERRER_CHANNELS,
    RULES,
    UNASSIGNED,
    ClickId,
    Traffic,
)
from webevents.logic.enrich.referrer import Referrers

CLICK_ID_NAMES = frozenset(click.parameter for click in CLICK_IDS)


def channel_of(
    referrers: Referrers,
    *,
    source: str | None = None,
    medium: str | None = None,
    campaign: str | None = None,
    click_ids: Mapping[str, str] | None = None,
    referrer_medium: str = "none",
) -> str:
    """Name the channel of a visit.

    :param referrers: tells what kind of place a source is.
    :param source: ``utm_source``, in any case.
    :param medium: ``utm_medium``.
    :param campaign: ``utm_campaign``.
    :param click_ids: click identifiers of the page's URL, by parameter in lower case.
    :param referrer_medium: what the referrer is; decides only where there is no campaign.
    :returns: a channel of :data:`RULES`, :data:`REFERRER_CHANNELS`, or ``Unassigned``.
    """
    source, medium = _clean(source), _clean(medium)
    campaign = _clean(campaign)
    click = _first(click_ids or {})
    if click and medium in NO_MEDIA and _same_source(referrers, source, click.source):
        source, medium = click.source, click.medium
    named = _by_rules(Traffic(source, medium, campaign, _kind(referrers, source)))
    if named == UNASSIGNED and not source and medium in NO_MEDIA:
        return REFERRER_CHANNELS.get(referrer_medium, "Referral")
    return named


def _by_rules(traffic: Traffic) -> str:
    return next((rule.channel for rule in RULES if rule.holds(traffic)), UNASSIGNED)


def _first(click_ids: Mapping[str, str]) -> ClickId | None:
    return next((click for click in CLICK_IDS if click.parameter in click_ids), None)


def _same_source(referrers: Referrers, source: str, other: str) -> bool:
    """Whether a click identifier may speak for the source: there is none, or it is the same."""
    if not source or source in DIRECT_SOURCES:
        return True
    service = referrers.of_source(source)
    return service is not None and service == referrers.of_source(other)


def _kind(referrers: Referrers, source: str) -> str:
    service = referrers.of_source(source) if source else None
    return service.medium if service else ""


def _clean(text: str | None) -> str:
    return (text or "").strip().lower()
