"""Who the visitor is: the identifier in the first-party cookie, or a hash that lasts a day."""

import hashlib
import hmac
import re
import secrets
from datetime import timedelta
from typing import NamedTuple

from webevents.connectors.kafka import read_secret
from webevents.events.times import from_us
from webevents.spec.collector import CookieSpec, VisitorSpec

_VALID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Visitor(NamedTuple):
    """What the collector itself knows of the visitor."""

    id: str | None
    set_cookie: str | None = None
    """Value of a Set-Cookie header that makes the browser keep the identifier."""


NOBODY = Visitor(None)


class Visitors:
    """Tells visitors.

    :raises webevents.errors.UserError: when the secret cannot be read.
    """

    def __init__(self, spec: VisitorSpec) -> None:
        self._mode = spec.mode
        self._cookie = spec.cookie
        self._attributes = _attributes(spec.cookie)
        self._secret = _secret(spec)

    @property
    def cookie_name(self) -> str:
        """The name of the cookie."""
        return self._cookie.name

    def visitor(
        self, cookie: str | None, site: str | None, address: str | None, agent: str, now_us: int
    ) -> Visitor:
        """The visitor of a request.

        :param cookie: the cookie's value, as the browser sent it.
        :param site: the site, so that a visitor of two is two.
        """
        if self._mode == "cookie":
            known = cookie if cookie is not None and _VALID.fullmatch(cookie) else None
            value = known or secrets.token_urlsafe(18)
            # Also for one that is known: so it lasts from the latest visit on.
            return Visitor(value, f"{self._cookie.name}={value}{self._attributes}")
        if self._mode == "cookieless" and address is not None:
            day = from_us(now_us).strftime("%Y-%m-%d")
            text = "\0".join((day, site or "", address, agent)).encode("utf-8", "replace")
            return Visitor(hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:32])
        return NOBODY


def _attributes(spec: CookieSpec) -> str:
    parts = [f"Max-Age={spec.max_age // timedelta(seconds=1)}", "Path=/"]
    if spec.domain:
        parts.append(f"Domain={spec.domain}")
    parts.append(f"SameSite={spec.same_site}")
    if spec.secure:
        parts.append("Secure")
    if spec.http_only:
        parts.append("HttpOnly")
    return "".join(f"; {part}" for part in parts)


def _secret(spec: VisitorSpec) -> bytes:
    if spec.mode != "cookieless" or (spec.hash_key_file is None and spec.hash_key_env is None):
        return secrets.token_bytes(32)
    return read_secret("hash key", spec.hash_key_file, spec.hash_key_env).encode()


def cookies(header: str | None) -> dict[str, str]:
    """The cookies of a request, by name; of two with one name the first holds (RFC 6265)."""
    found: dict[str, str] = {}
    for pair in (header or "").split(";"):
        name, equals, value = pair.partition("=")
        if equals:
            found.setdefault(name.strip(), value.strip().strip('"'))
    return found
