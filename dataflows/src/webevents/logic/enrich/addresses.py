"""IP addresses: what kind an address is, and its masked form."""

from bisect import bisect_right
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import AF_INET, inet_pton
from typing import Literal

Address = IPv4Address | IPv6Address
AddressKind = Literal["public", "private", "loopback", "reserved"]

_SPECIAL: dict[str, AddressKind] = {
    "0.0.0.0/8": "reserved",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "private",  # behind a provider's translation (RFC 6598)
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "private",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "reserved",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "reserved",
    "198.51.100.0/24": "reserved",
    "203.0.113.0/24": "reserved",
    "224.0.0.0/3": "reserved",
    # Of IPv6, only 2000::/3 is given out (RFC 4291).
    "::/3": "reserved",
    "::1/128": "loopback",
    "2001::/23": "reserved",
    "2001:db8::/32": "reserved",
    "3fff::/20": "reserved",
    "4000::/2": "reserved",
    "8000::/1": "reserved",
    "fc00::/7": "private",
    "fe80::/10": "private",
    "fec0::/10": "private",
}
"""IANA's registries of special addresses (RFC 6890), the smaller network before the larger one.
A table of our own: Python's changes between its versions, and asking it costs 9 times more."""

_KEPT_BITS = {"lastOctet": (24, 48), "lastTwoOctets": (16, 32)}
_6TO4_PREFIX = 16


def parse_address(text: str) -> Address | None:
    """Read an address; an IPv4 address that is mapped into IPv6 becomes the IPv4 address.

    :returns: None where the text is no address.
    """
    text = text.strip()
    try:
        return IPv4Address(inet_pton(AF_INET, text))  # most are; ip_address() costs 4 times more
    except (OSError, ValueError):
        pass
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address


def address_kind(address: Address) -> AddressKind:
    """What kind of network an address belongs to.

    ``private`` are those of RFC 1918, RFC 4193, link-local and behind a provider's translation;
    ``reserved`` is everything else that is not on the public internet: documentation, multicast,
    unspecified.
    """
    starts, kinds = _SEGMENTS[address.version]
    return kinds[bisect_right(starts, int(address)) - 1]


def _segments(version: int) -> tuple[list[int], list[AddressKind]]:
    """Where each run of addresses of one kind begins, and its kind."""
    networks = [(ip_network(network), kind) for network, kind in _SPECIAL.items()]
    ranges = [
        (int(network.network_address), int(network.broadcast_address), kind)
        for network, kind in sorted(networks, key=lambda one: one[0].prefixlen, reverse=True)
        if network.version == version
    ]
    starts = sorted({0, *(low for low, _, _ in ranges), *(high + 1 for _, high, _ in ranges)})
    kinds: list[AddressKind] = [
        next((kind for low, high, kind in ranges if low <= start <= high), "public")
        for start in starts
    ]
    return starts, kinds


_SEGMENTS = {version: _segments(version) for version in (4, 6)}


def mask_address(text: str, how: str) -> str | None:
    """Set the end of an address to zero.

    :param how: ``lastOctet`` keeps 24 bits of IPv4 and 48 of IPv6, ``lastTwoOctets`` 16 and 32.
        An address of 6to4 keeps as much of the IPv4 address within it.
    :returns: None where the text is no address.
    """
    address = parse_address(text)
    if address is None:
        return None
    bits4, bits6 = _KEPT_BITS[how]
    if isinstance(address, IPv6Address):
        kept = _6TO4_PREFIX + bits4 if address.sixtofour else bits6
        address = IPv6Address(int(address))  # without the zone
    else:
        kept = bits4
    return str(ip_network((address, kept), strict=False).network_address)
