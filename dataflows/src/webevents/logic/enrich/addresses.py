"""IP addresses: what kind an address is, and its masked form."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal

Address = IPv4Address | IPv6Address
AddressKind = Literal["public", "private", "loopback", "reserved"]

_SHARED = ip_network("100.64.0.0/10")
"""Addresses behind a provider's translation (RFC 6598)."""

_KEPT_BITS = {"lastOctet": (24, 48), "lastTwoOctets": (16, 32)}
_6TO4_PREFIX = 16


def parse_address(text: str) -> Address | None:
    """Read an address; an IPv4 address that is mapped into IPv6 becomes the IPv4 address.

    :returns: None where the text is no address.
    """
    try:
        address = ip_address(text.strip())
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
    if address.is_loopback:
        return "loopback"
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return "reserved"
    if address.is_link_local or (address.version == 4 and address in _SHARED):
        return "private"
    if address.is_global:
        return "public"
    private = _is_own_network(address)
    return "private" if private else "reserved"


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


_OWN_NETWORKS = tuple(
    ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


def _is_own_network(address: Address) -> bool:
    return any(address in network for network in _OWN_NETWORKS)
