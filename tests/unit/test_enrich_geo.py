"""Places: the built-in registry data, databases, carried places, kinds of addresses."""

import struct
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import maxminddb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webevents.errors import UserError
from webevents.logic.enrich.addresses import address_kind, mask_address, parse_address
from webevents.logic.enrich.geo import SOURCES, Geo, Place, location, open_databases, place_of
from webevents.logic.enrich.group import Carried

MAXMIND: dict[str, Any] = {
    "country": {"iso_code": "DE", "names": {"en": "Germany"}},
    "subdivisions": [{"iso_code": "BY", "names": {"en": "Bavaria", "de": "Bayern"}}],
    "city": {"names": {"en": "Munich"}},
    "location": {"latitude": 48.137, "longitude": 11.575, "time_zone": "Europe/Berlin"},
}
FLAT: dict[str, Any] = {
    "country_code": "BR",
    "state1": "São Paulo",
    "city": "Campinas",
    "latitude": -22.9,
    "longitude": -47.06,
    "timezone": "America/Sao_Paulo",
    "postcode": "",
}
MUNICH = Place("database", "DE", "Bavaria", "Munich", "Europe/Berlin", "48.137,11.575")
CAMPINAS = Place("database", "BR", "São Paulo", "Campinas", "America/Sao_Paulo", "-22.9,-47.06")


_UNSIGNED = {"node_count": 6, "build_epoch": 9}


def _field(value: Any, integer: int = 5) -> bytes:
    """One value in the data format of MMDB files; integers in the type of that number."""

    def control(kind: int, size: int) -> bytes:
        assert size < 29
        return bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])

    if isinstance(value, str):
        text = value.encode()
        if len(text) >= 29:
            return bytes([2 << 5 | 29, len(text) - 29]) + text
        return control(2, len(text)) + text
    if isinstance(value, float):
        return control(3, 8) + struct.pack(">d", value)
    if isinstance(value, int):
        size = {5: 2, 6: 4, 9: 8}[integer]
        return control(integer, size) + value.to_bytes(size)
    if isinstance(value, list):
        return control(11, len(value)) + b"".join(map(_field, value))
    pairs = (_field(k) + _field(v, _UNSIGNED.get(k, 5)) for k, v in value.items())
    return control(7, len(value)) + b"".join(pairs)


def write_mmdb(path: Path, networks: dict[str, Any], version: int = 6) -> Path:
    """Write a tiny MMDB file, by the published format: search tree, separator, data, metadata."""
    tree: list[list[Any]] = [[None, None]]
    data = b""
    for network, record in networks.items():
        net = ip_network(network)
        bits = f"{int(net.network_address):0{net.max_prefixlen}b}"[: net.prefixlen]
        if version == 6 and net.version == 4:
            bits = "0" * 96 + bits
        node = 0
        for bit in bits[:-1]:
            if tree[node][int(bit)] is None:
                tree[node][int(bit)] = len(tree)
                tree.append([None, None])
            node = tree[node][int(bit)]
        tree[node][int(bits[-1])] = ("data", len(data))
        data += _field(record)
    count = len(tree)

    def slot(child: Any) -> bytes:
        number = count if child is None else child
        if isinstance(child, tuple):
            number = count + 16 + child[1]
        return number.to_bytes(3)

    metadata = {
        "node_count": count,
        "record_size": 24,
        "ip_version": version,
        "database_type": "Test-City",
        "languages": ["en"],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1,
        "description": {"en": "test"},
    }
    search = b"".join(slot(child) for node in tree for child in node)
    marker = b"\xab\xcd\xefMaxMind.com"
    path.write_bytes(search + bytes(16) + data + marker + _field(metadata))
    return path


def fields(geo: Geo, **carried: Any) -> dict[str, Any]:
    found = geo.compute(Carried(carried))
    return {name: value for name, value in found.items() if value}


def test_the_built_in_data_know_countries() -> None:
    geo = Geo()
    assert geo.place("8.8.8.8") == Place("registry", "US")
    assert geo.place(" 8.8.8.8 ") == Place("registry", "US")
    assert geo.place("2001:4860:4860::8888") == Place("registry", "US")
    assert geo.place("::ffff:8.8.8.8") == Place("registry", "US")
    assert fields(geo, ip_address="8.8.8.8") == {"geo_country": "US", "geo_source": "registry"}


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("10.1.2.3", "private"),
        ("172.31.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("169.254.1.1", "private"),
        ("fd00::1", "private"),
        ("fe80::1", "private"),
        ("fe80::1%eth0", "private"),
        ("::ffff:10.0.0.1", "private"),
        ("127.0.0.1", "loopback"),
        ("127.8.8.8", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "reserved"),
        ("192.0.2.1", "reserved"),
        ("198.51.100.7", "reserved"),
        ("203.0.113.9", "reserved"),
        ("224.0.0.1", "reserved"),
        ("239.1.1.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("2001:db8::1", "reserved"),
        ("ff02::1", "reserved"),
        ("::", "reserved"),
        ("1.2.3", "invalid"),
        ("1.2.3.256", "invalid"),
        ("1.2.3.4:80", "invalid"),
        ("1.2.3.4, 5.6.7.8", "invalid"),
        ("localhost", "invalid"),
    ],
)
def test_addresses_without_a_place(address: str, source: str) -> None:
    assert source in SOURCES
    assert fields(Geo(), ip_address=address) == {"geo_source": source}


def test_no_address_and_no_place_say_nothing() -> None:
    assert fields(Geo()) == {}
    assert fields(Geo(), ip_address=None, geo_country=None) == {}


def test_records_of_both_layouts() -> None:
    assert place_of(MAXMIND) == MUNICH
    assert place_of(FLAT) == CAMPINAS
    assert place_of({"country": {"iso_code": "DE"}}) == Place("database", "DE")
    assert place_of({"registered_country": {"iso_code": "DE"}}) == Place("database", "DE")
    assert place_of({"country": "DE"}) == Place("database", "DE")


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        "DE",
        {},
        {"city": {"names": {"en": "Munich"}}},
        {"country": 1, "location": [], "subdivisions": {}, "city": 7},
        {"location": {"latitude": "x", "longitude": None}, "subdivisions": [None]},
    ],
)
def test_odd_records_are_no_place(record: Any) -> None:
    assert place_of(record) is None


def test_a_database_answers_before_the_registry(tmp_path: Path) -> None:
    path = write_mmdb(tmp_path / "city.mmdb", {"8.8.8.0/24": MAXMIND, "2a02::/16": FLAT})
    geo = Geo(open_databases([str(path)]))
    assert geo.place("8.8.8.8") == MUNICH
    assert geo.place("::ffff:8.8.8.8") == MUNICH
    assert geo.place("2a02::1") == CAMPINAS
    assert geo.place("8.8.4.4") == Place("registry", "US")
    assert geo.place("10.0.0.1") == Place("private")
    assert fields(geo, ip_address="8.8.8.8") == {
        "geo_country": "DE",
        "geo_region_name": "Bavaria",
        "geo_city": "Munich",
        "geo_timezone": "Europe/Berlin",
        "geo_location": "48.137,11.575",
        "geo_source": "database",
    }


def test_databases_of_ipv4_and_ipv6_go_side_by_side(tmp_path: Path) -> None:
    four = write_mmdb(tmp_path / "4.mmdb", {"8.8.8.0/24": MAXMIND}, version=4)
    six = write_mmdb(tmp_path / "6.mmdb", {"2a02::/16": FLAT})
    geo = Geo(open_databases([str(four), str(six)]))
    assert geo.place("8.8.8.8") == MUNICH
    assert geo.place("2a02::1") == CAMPINAS


def test_a_damaged_database_is_no_failure() -> None:
    class Damaged:
        def get(self, ip_address: Any) -> Any:
            raise maxminddb.InvalidDatabaseError("damaged")

    assert Geo([Damaged()]).place("8.8.8.8") == Place("registry", "US")


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.mmdb"
    with pytest.raises(UserError, match=r"missing\.mmdb: No such file"):
        open_databases([str(missing)])
    other = tmp_path / "other.mmdb"
    for content in (b"", b"text"):
        other.write_bytes(content)
        with pytest.raises(UserError, match=r"other\.mmdb is not an MMDB file"):
            open_databases([str(other)])


@pytest.fixture(scope="module")
def cities(tmp_path_factory: pytest.TempPathFactory) -> Geo:
    path = write_mmdb(tmp_path_factory.mktemp("geo") / "city.mmdb", {"8.8.8.0/24": MAXMIND})
    return Geo(open_databases([str(path)]))


def test_a_carried_place_is_completed_where_it_agrees(cities: Geo) -> None:
    found = fields(cities, ip_address="8.8.8.8", geo_country="de", geo_region_name="Bavaria")
    assert (found["geo_city"], found["geo_location"]) == ("Munich", "48.137,11.575")
    assert found["geo_source"] == "event"


@pytest.mark.parametrize(
    "carried",
    [
        {"geo_country": "BR"},
        {"geo_country": "DE", "geo_region_name": "Hesse"},
        {"geo_city": "Berlin"},
    ],
)
def test_a_carried_place_elsewhere_is_left_alone(cities: Geo, carried: dict[str, str]) -> None:
    assert fields(cities, ip_address="8.8.8.8", **carried) == {"geo_source": "event"}


def test_carried_coordinates_make_the_point(cities: Geo) -> None:
    found = fields(
        cities, ip_address="8.8.8.8", geo_country="BR", geo_latitude="-23.5", geo_longitude=" -51 "
    )
    assert found == {"geo_location": "-23.5,-51.0", "geo_source": "event"}
    invalid = fields(cities, ip_address="8.8.8.8", geo_latitude="91", geo_longitude="0")
    assert (invalid["geo_location"], invalid["geo_source"]) == ("48.137,11.575", "database")


def test_overwriting_a_carried_place(cities: Geo) -> None:
    names = ("geo_country", "geo_location", "geo_source", "geo_city")
    event = {"geo_country": "BR", "geo_latitude": "1", "geo_longitude": "2"}
    found = cities.compute(Carried({"ip_address": "8.8.8.8", **event}, names))
    assert (found["geo_country"], found["geo_city"]) == ("DE", "Munich")
    assert (found["geo_location"], found["geo_source"]) == ("48.137,11.575", "database")
    nothing = cities.compute(Carried({"ip_address": "10.0.0.1", **event}, names))
    assert (nothing["geo_location"], nothing["geo_source"]) == ("1.0,2.0", "event")


@pytest.mark.parametrize(
    ("latitude", "longitude", "point"),
    [
        ("48.137", "11.575", "48.137,11.575"),
        (48, 11.5, "48.0,11.5"),
        ("-90", "180", "-90.0,180.0"),
        ("-0.0", "0", "0.0,0.0"),
        ("1e-9", "1.23456789", "0.0,1.234568"),
        ("90.1", "0", None),
        ("0", "-180.5", None),
        ("nan", "0", None),
        ("inf", "0", None),
        ("", "0", None),
        ("north", "0", None),
        (None, "0", None),
        ("0", None, None),
        (True, "0", None),
        (10**400, 0, None),
    ],
)
def test_location(latitude: Any, longitude: Any, point: str | None) -> None:
    assert location(latitude, longitude) == point


@pytest.mark.parametrize(
    ("address", "how", "masked"),
    [
        ("203.0.113.77", "lastOctet", "203.0.113.0"),
        ("203.0.113.77", "lastTwoOctets", "203.0.0.0"),
        ("2001:db8:1:2:3::4", "lastOctet", "2001:db8:1::"),
        ("2001:db8:1:2:3::4", "lastTwoOctets", "2001:db8::"),
        ("::ffff:203.0.113.77", "lastOctet", "203.0.113.0"),
        ("2002:cb00:714d:1::1", "lastOctet", "2002:cb00:7100::"),
        ("fe80::1%eth0", "lastOctet", "fe80::"),
        (" 10.1.2.3 ", "lastOctet", "10.1.2.0"),
        ("1.2.3.4:80", "lastOctet", None),
        ("jane", "lastOctet", None),
    ],
)
def test_mask(address: str, how: str, masked: str | None) -> None:
    assert mask_address(address, how) == masked


@given(st.one_of(st.ip_addresses(v=4).map(str), st.from_regex(r"[0-9. ]{1,16}", fullmatch=True)))
def test_an_address_is_read_as_python_reads_it(text: str) -> None:
    try:
        expected = ip_address(text.strip())
    except ValueError:
        assert parse_address(text) is None
    else:
        assert parse_address(text) == expected


@pytest.mark.parametrize(
    ("first", "last", "kind"),
    [
        ("9.255.255.255", "9.255.255.255", "public"),
        ("10.0.0.0", "10.255.255.255", "private"),
        ("11.0.0.0", "100.63.255.255", "public"),
        ("100.64.0.0", "100.127.255.255", "private"),
        ("127.0.0.0", "127.255.255.255", "loopback"),
        ("169.254.0.0", "169.254.255.255", "private"),
        ("172.15.255.255", "172.15.255.255", "public"),
        ("172.16.0.0", "172.31.255.255", "private"),
        ("192.0.1.0", "192.0.1.255", "public"),
        ("192.168.0.0", "192.168.255.255", "private"),
        ("198.18.0.0", "198.19.255.255", "reserved"),
        ("203.0.114.0", "223.255.255.255", "public"),
        ("224.0.0.0", "255.255.255.255", "reserved"),
        ("::", "::", "reserved"),
        ("::1", "::1", "loopback"),
        ("::2", "1fff:ffff::", "reserved"),
        ("2000::", "2000:ffff::", "public"),
        ("2001:200::", "2001:db7:ffff::", "public"),
        ("2001:db8::", "2001:db8:ffff::", "reserved"),
        ("2a00::1", "3ffe:ffff::", "public"),
        ("4000::", "fbff:ffff::", "reserved"),
        ("fc00::", "fdff:ffff::", "private"),
        ("fe80::1", "feff:ffff::", "private"),
        ("ff02::1", "ffff::", "reserved"),
    ],
)
def test_kinds_reach_from_their_first_to_their_last_address(
    first: str, last: str, kind: str
) -> None:
    assert address_kind(ip_address(first)) == address_kind(ip_address(last)) == kind


@given(st.ip_addresses(v=4))
def test_what_python_calls_global_is_public(address: IPv4Address) -> None:
    kind = address_kind(address)
    # Multicast is global to Python too, and what of 192.0.0.0/24 is depends on its version.
    if address.is_multicast or address in ip_network("192.0.0.0/24"):
        assert kind == "reserved"
    else:
        assert (kind == "public") == address.is_global


@given(st.one_of(st.ip_addresses().map(str), st.text(max_size=60)))
def test_every_text_has_a_source(text: str) -> None:
    place = Geo().place(text)
    assert place.source in SOURCES
    address = parse_address(text)
    assert (address is None) == (place.source == "invalid")
    for how in ("lastOctet", "lastTwoOctets"):
        masked = mask_address(text, how)
        assert (masked is None) == (address is None)
        if address is not None and masked is not None:
            assert mask_address(masked, how) == masked
            assert address_kind(address) in ("public", *SOURCES)
