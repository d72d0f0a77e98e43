"""Enriching one event: everything that is known about it, in one pass over its bytes."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec.structs import astuple

from webevents.logic.enrich import geo, traffic, user_agent
from webevents.logic.enrich.cache import Cache
from webevents.logic.enrich.email_domain import email_domain
from webevents.logic.enrich.group import Additions, Carried, Group
from webevents.logic.enrich.privacy import Document, Privacy, read_hash_key
from webevents.logic.enrich.referrer import Referrers
from webevents.logic.enrich.source_category import SourceCategories
from webevents.spec.enrich import ENRICHED_FIELDS, EVERYTHING, EnrichSpec

Layout = tuple[tuple[Callable[[tuple[Any, ...]], tuple[Any, ...]], Cache[Any, Additions]], ...]
"""For each group: what takes its key from the values of an event, and what it then adds."""

_decode = msgspec.json.Decoder(Document).decode
_encode = msgspec.json.Encoder().encode


class Enricher:
    """Adds to events what can be known about them, then removes what shall not be known.

    Fields that the event carries are not overwritten, except those of ``spec.overwrite``; null
    and empty text do not count as carried. Unknown fields pass through byte by byte. Not for use
    by several threads at once.

    :param spec: what to do.
    :param hash_key: the key of the hash; read from where ``spec.privacy`` says when absent.
    :raises UserError: when the key or a geo database cannot be read.
    """

    def __init__(self, spec: EnrichSpec, *, hash_key: bytes | None = None) -> None:
        everything = EVERYTHING in spec.overwrite
        overwrite = ENRICHED_FIELDS if everything else spec.overwrite
        source = traffic.TrafficSource(
            Referrers(spec.referrers), SourceCategories(spec.source_categories)
        )
        groups = [
            Group(traffic.INPUTS, traffic.OUTPUTS, source.compute, overwrite),
            Group(("user_custom_id",), ("user_email_domain",), _email_fields, overwrite),
        ]
        if spec.user_agent.enabled:
            agents = user_agent.UserAgents()
            groups.append(Group(user_agent.INPUTS, user_agent.OUTPUTS, agents.compute, overwrite))
        if spec.geo.enabled:
            places = geo.Geo(geo.open_databases(spec.geo.databases))
            groups.append(Group(geo.INPUTS, geo.OUTPUTS, places.compute, overwrite))
        self._groups = groups
        self._layouts: dict[type, Layout] = {}
        key = hash_key if hash_key is not None else read_hash_key(spec.privacy)
        self._privacy = Privacy(spec.privacy, key)
        self._drop = spec.drop_fields
        self._edits_always = self._privacy.active or bool(spec.drop_fields)
        changed = {*ENRICHED_FIELDS, *spec.drop_fields, *spec.privacy.hash_fields}
        if spec.privacy.mask_ip != "none":
            changed.add("ip_address")
        self._changed = frozenset(changed)

    def changes(self, fields: Iterable[str]) -> bool:
        """Whether one of these fields may have another value after enrichment."""
        return not self._changed.isdisjoint(fields)

    def enrich(self, raw: bytes, event: Any) -> bytes:
        """Enrich one message.

        :param raw: the message: one JSON object.
        :param event: the message, decoded with all fields of the table of events.
        :returns: the enriched message: one JSON object, whose members are those of ``raw`` in
            their order, then those added. Where nothing is dropped or replaced, the bytes of
            ``raw`` are kept as they are.
        """
        parts = [raw.rstrip()[:-1]]
        replaced: Document | None = None
        layout = self._layouts.get(type(event)) or self._lay_out(type(event))
        values = astuple(event)  # one pass over the event is faster than one for each group
        for read, additions in layout:
            fragment, replacements = additions[read(values)]
            parts.append(fragment)
            if replacements is not None:
                replaced = {**(replaced or {}), **replacements}
        parts.append(b"}")
        message = b"".join(parts)
        if replaced is None and not self._edits_always:
            return message
        return self._edit(message, replaced)

    def _lay_out(self, event_class: Any) -> Layout:
        fields = event_class.__struct_fields__
        layout = tuple((group.reader(fields), group.additions) for group in self._groups)
        self._layouts[event_class] = layout
        return layout

    def _edit(self, message: bytes, replaced: Document | None) -> bytes:
        document: Document = _decode(message)
        if replaced is not None:
            document.update(replaced)
        self._privacy.apply(document)
        for name in self._drop:
            document.pop(name, None)
        return _encode(document)


def _email_fields(carried: Carried) -> dict[str, Any]:
    return {"user_email_domain": email_domain(carried.get("user_custom_id"))}
