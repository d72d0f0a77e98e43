"""The place of an IP address, found offline.

Where databases are configured (MMDB files of DB-IP or MaxMind), the first that knows the address
answers. Otherwise the country comes from the regional registries' data in the package iptocc
(MIT OR Apache-2.0): the country that an address block was assigned to.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import iptocc
import maxminddb

from webevents.errors import UserError
from webevents.logic.enrich.addresses import Address, address_kind, parse_address
from webevents.logic.enrich.cache import Cache
from webevents.logic.enrich.group import Carried

INPUTS = ("ip_address", "geo_latitude", "geo_longitude")
OUTPUTS = (
    "geo_country",
    "geo_region_name",
    "geo_city",
    "geo_timezone",
    "geo_location",
    "geo_source",
)
SOURCES: dict[str, str] = {
    "event": "The event carries a place.",
    "database": "A configured database knows the address.",
    "registry": "Only the country that a registry assigned the address to is known.",
    "private": "The address is of a private or link-local network, or behind a provider's own.",
    "loopback": "The address is the machine itself.",
    "reserved": "The address is not on the public internet: documentation, multicast, unspecified.",
    "invalid": "The text is no address.",
    "unknown": "The address is public, but nothing is known about it.",
}
"""Values of ``geo_source``; it is absent where the event has neither an address nor a place."""

CACHE_SIZE = 20_000


class Reader(Protocol):
    """An open MMDB file."""

    def get(self, ip_address: Any) -> Any:
        """The record of an address, or None."""


class Place(NamedTuple):
    """What is known about where an address is."""

    source: str
    """One of :data:`SOURCES`."""
    country: str | None = None
    region: str | None = None
    city: str | None = None
    timezone: str | None = None
    location: str | None = None


def open_databases(paths: Sequence[str]) -> list[Reader]:
    """Open MMDB files.

    :raises UserError: when one is missing or no MMDB file.
    """
    readers: list[Reader] = []
    for path in paths:
        try:
            readers.append(maxminddb.open_database(path))
        except OSError as error:
            reason = error.strerror or "it cannot be read"
            raise UserError(f"cannot open the geo database {path}: {reason}") from None
        except maxminddb.InvalidDatabaseError:
            raise UserError(
                f"{path} is not an MMDB file; name a city or country database in "
                "spec.enrich.geo.databases"
            ) from None
    return readers


class Geo:
    """Computes the fields of :data:`OUTPUTS`.

    :param readers: open databases; see :func:`open_databases`.
    """

    def __init__(self, readers: Sequence[Reader] = ()) -> None:
        self._readers = readers
        self._places: Cache[str, Place] = Cache(self._find, CACHE_SIZE)

    def place(self, address: str) -> Place:
        """The place of an address given as text; never raises."""
        return self._places[address]

    def compute(self, carried: Carried) -> dict[str, Any]:
        """The fields of one event; see :data:`webevents.logic.enrich.group.Compute`.

        What the event carries is completed only where the place found agrees with it: a city
        of another country would be worse than none.
        """
        address = carried.get("ip_address")
        found = self.place(address) if address is not None else Place("")
        point = location(carried.get("geo_latitude"), carried.get("geo_longitude"))
        if point and carried.overwrites("geo_location") and found.location:
            point = None
        levels = (
            ("geo_country", found.country),
            ("geo_region_name", found.region),
            ("geo_city", found.city),
        )
        kept = [(name, value) for name, value in levels if carried.keeps(name, value)]
        agrees = all(value is None or _same(carried.get(name), value) for name, value in kept)
        fields: dict[str, Any] = dict(levels) if agrees else {}
        if agrees:
            fields["geo_timezone"] = found.timezone
        fields["geo_location"] = point or (found.location if agrees else None)
        has_place = kept or point or carried.keeps("geo_location", fields["geo_location"])
        fields["geo_source"] = "event" if has_place else found.source
        return fields

    def _find(self, text: str) -> Place:
        address = parse_address(text)
        if address is None:
            return Place("invalid")
        kind = address_kind(address)
        if kind != "public":
            return Place(kind)
        for reader in self._readers:
            place = self._look_up(reader, address)
            if place is not None:
                return place
        country = iptocc.country_code(str(address))
        return Place("registry", country) if country else Place("unknown")

    @staticmethod
    def _look_up(reader: Reader, address: Address) -> Place | None:
        try:
            record = reader.get(address)
        except (ValueError, maxminddb.InvalidDatabaseError):
            return None  # an IPv6 address in a database of IPv4, or a damaged record
        return place_of(record)


def place_of(record: Any) -> Place | None:
    """Read a database's record, in the layout of MaxMind or in the flat one of ip-location-db.

    :returns: None where the record names neither country nor point.
    """
    if not isinstance(record, dict):
        return None
    point = record.get("location")
    point = point if isinstance(point, dict) else record
    regions = record.get("subdivisions")
    region = regions[0] if isinstance(regions, list) and regions else record.get("state1")
    country = _code(record.get("country")) or _code(record.get("country_code"))
    place = Place(
        "database",
        country or _code(record.get("registered_country")),
        _name(region),
        _name(record.get("city")),
        _text(point.get("time_zone")) or _text(record.get("timezone")),
        location(point.get("latitude"), point.get("longitude")),
    )
    return place if place.country or place.location else None


def location(latitude: Any, longitude: Any) -> str | None:
    """A point as ``latitude,longitude`` in degrees, as Elasticsearch reads it.

    :returns: None where a part is absent, no number, or out of range.
    """
    lat, lon = _degrees(latitude, 90), _degrees(longitude, 180)
    return None if lat is None or lon is None else f"{lat},{lon}"


def _degrees(value: Any, limit: int) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(number) or abs(number) > limit:
        return None
    # Adding zero turns -0.0 into 0.0; a millionth of a degree is 11 cm.
    return round(number, 6) + 0.0


def _same(one: Any, other: Any) -> bool:
    return str(one).casefold() == str(other).casefold()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _code(value: Any) -> str | None:
    return _text(value.get("iso_code")) if isinstance(value, dict) else _text(value)


def _name(value: Any) -> str | None:
    if isinstance(value, dict):
        names = value.get("names")
        return _text(names.get("en")) if isinstance(names, dict) else None
    return _text(value)
