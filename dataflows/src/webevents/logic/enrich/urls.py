"""Taking URLs apart, whatever they look like: trackers send them without scheme, cut or broken."""

import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import unquote_plus

MAX_PARAMETERS = 200
"""Parameters of a query that are looked at."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_PORT_ONLY = re.compile(r"[0-9]{1,5}(?=[/?#]|$)")
_AUTHORITY_END = re.compile(r"[/\\?#]")
_HOST = re.compile(r"(?!\.)[\w.-]{1,253}")
_PORT = re.compile(r"[0-9]{1,5}")
_IPV6 = re.compile(r"\[([0-9a-f:.]{2,45})\]", re.IGNORECASE)
_IPV4 = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")
_DEFAULT_PORTS = {"http": "80", "https": "443", "ftp": "21"}
_FILE_ENDINGS = frozenset(("asp", "aspx", "cgi", "htm", "html", "js", "jsp", "php", "xhtml"))


class Url(NamedTuple):
    """The parts of a URL; empty text where a part is absent."""

    scheme: str = ""
    """In lower case."""
    host: str = ""
    """In lower case, without a final dot, port and user."""
    port: str = ""
    """As written, or the scheme's usual one."""
    path: str = ""
    query: str = ""


def split_url(text: str) -> Url:
    """Take a URL apart; never raises.

    A text without a scheme is a URL where its first part looks like a host (``www.example.com``,
    ``example.com:8080/x``, ``localhost``); otherwise it is a path.

    :param text: an absolute URL, one without scheme, or a path.
    """
    text = text.strip()
    scheme, rest = "", text
    match = _SCHEME.match(text)
    if match and not _PORT_ONLY.match(text, match.end()):
        scheme, rest = match[1].lower(), text[match.end() :]
        if not rest.startswith("//"):
            return Url(scheme)  # mailto:, about:, data:, javascript: have no host
    if rest.startswith("//"):
        authority, tail = _cut(rest[2:])
        host, port = _host_and_port(authority)
    else:
        authority, tail = _cut(rest)
        host, port = _host_and_port(authority)
        if not _looks_like_host(host):
            return Url("", "", "", *_path_and_query(rest))
    if not host:
        return Url(scheme, "", "", *_path_and_query(tail))
    return Url(scheme, host, port or _DEFAULT_PORTS.get(scheme, ""), *_path_and_query(tail))


def query_values(query: str, names: Collection[str]) -> dict[str, str]:
    """Read parameters of a query: the first value of each that is not empty.

    :param query: the part of a URL after the question mark.
    :param names: names in lower case; those in the query match without regard to case.
    """
    found: dict[str, str] = {}
    if not query:
        return found
    for part in query.split("&", MAX_PARAMETERS)[:MAX_PARAMETERS]:
        name, _, value = part.partition("=")
        name = name.lower()
        if name in names and value and name not in found:
            decoded = unquote_plus(value, errors="replace").strip()
            if decoded:
                found[name] = decoded
    return found


def _cut(text: str) -> tuple[str, str]:
    """Part what may name the host from what follows."""
    end = _AUTHORITY_END.search(text)
    return (text[: end.start()], text[end.start() :]) if end else (text, "")


def _host_and_port(authority: str) -> tuple[str, str]:
    authority = authority.rpartition("@")[2]
    bracketed = _IPV6.match(authority)
    if bracketed:
        host, rest = bracketed[1].lower(), authority[bracketed.end() :]
        port = rest.removeprefix(":")
    else:
        host, _, port = authority.partition(":")
        host = host.lower().rstrip(".")
        if not _HOST.fullmatch(host) or ".." in host:
            return "", ""
    return host, port if _PORT.fullmatch(port) else ""


def _looks_like_host(host: str) -> bool:
    if host == "localhost" or ":" in host:
        return True
    name, _, top = host.rpartition(".")
    if not name or top in _FILE_ENDINGS:
        return False
    return (len(top) > 1 and not top[0].isdigit()) or bool(_IPV4.fullmatch(host))


def _path_and_query(text: str) -> tuple[str, str]:
    text = text.partition("#")[0]
    path, _, query = text.partition("?")
    return path, query
