"""The visitor's address: the peer's, or what proxies that are trusted say."""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from webevents.spec.collector import ProxiesSpec

Address = IPv4Address | IPv6Address


class Addresses:
    """Finds the client's address.

    :param spec: whom to trust.
    """

    def __init__(self, spec: ProxiesSpec) -> None:
        self._networks = tuple(ip_network(network) for network in spec.trusted)
        self._header = spec.header.lower()
        self.trusts = lru_cache(maxsize=10_000)(self._trusts)

    def client(self, peer: str, headers: Mapping[str, str]) -> str | None:
        """The address that counts as the client's.

        Proxies append to the header, so it is read from its end, over the trusted ones; what
        stands before the first stranger may be made up.

        :param peer: whom the connection is with, as ``address:port``.
        :param headers: by name; of one that came several times the values are joined by commas.
        """
        address = peer_address(peer)
        if address is None or not self._networks or not self.trusts(address):
            return address
        hops = headers.get(self._header, "").split(",")
        if self._header == "forwarded":
            hops = [_forwarded_for(hop) for hop in hops]
        for hop in reversed(hops):
            known = _parse(hop)
            if known is None:
                return address  # unknown, or hidden: the last one that is certain
            address = known
            if not self.trusts(address):
                break
        return address

    def _trusts(self, address: str) -> bool:
        parsed = ip_address(address)
        return any(parsed in network for network in self._networks)


@lru_cache(maxsize=10_000)
def _plain(host: str) -> str | None:
    try:
        address: Address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def peer_address(peer: str) -> str | None:
    """The address of ``address:port`` or ``[address]:port``."""
    host = peer.rpartition(":")[0] or peer
    return _plain(host.strip("[]"))


def _parse(hop: str) -> str | None:
    hop = hop.strip().strip('"')
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    return _plain(hop)


def _forwarded_for(element: str) -> str:
    """The ``for`` of one element of the header Forwarded (RFC 7239)."""
    for pair in element.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.lower() == "for":
            return value
    return ""
