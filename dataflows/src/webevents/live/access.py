"""Who may look: anybody on this machine, or whoever has the token."""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address

from webevents.connectors.kafka import read_secret
from webevents.errors import UserError
from webevents.spec.live import LiveSpec

COOKIE = "webevents_live"
COOKIE_DAYS = 7
SHORTEST = 16
"""Characters of a token: shorter ones can be guessed."""


def read_token(spec: LiveSpec) -> str | None:
    """The token; None where there is none.

    :raises UserError: when it cannot be read, or is too short.
    """
    if spec.token_file is None and spec.token_env is None:
        return None
    token = read_secret("live page's token", spec.token_file, spec.token_env)
    if len(token) < SHORTEST:
        raise UserError(
            f"the live page's token is shorter than {SHORTEST} characters: make another, such as "
            "by `openssl rand -hex 24`"
        )
    return token


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def listening_address(host: str | None, token: str | None) -> str:
    """The address to listen on: without a token only this machine's own.

    :param host: what was asked for.
    :raises UserError: when others could look without a token.
    """
    if host is None:
        return "127.0.0.1" if token is None else "0.0.0.0"  # noqa: S104 - the token guards it
    if token is None and not is_loopback(host):
        raise UserError(
            f"the live page would be open to whoever reaches {host}: set spec.live.tokenFile or "
            "spec.live.tokenEnv, or listen on 127.0.0.1"
        )
    return host


class Access:
    """Decides about requests.

    :param token: None where the page is reached from this machine only.
    """

    def __init__(self, token: str | None) -> None:
        self._digest = None if token is None else _digest(token)
        # The cookie holds no token: who reads a browser's files cannot use the API elsewhere.
        self._cookie = "" if token is None else _cookie_of(token)

    @property
    def needs_token(self) -> bool:
        """Whether there is a token."""
        return self._digest is not None

    def is_token(self, given: str) -> bool:
        """Whether this is the token; takes the same time whatever is given."""
        return self._digest is not None and hmac.compare_digest(_digest(given), self._digest)

    def permits(self, headers: Mapping[str, str]) -> bool:
        """Whether a request comes from somebody who may look."""
        if self._digest is None:
            return self._of_this_machine(headers.get("host", ""))
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return True
        return hmac.compare_digest(_cookie_in(headers).encode(), self._cookie.encode())

    def cookie(self, *, secure: bool) -> str:
        """The header Set-Cookie for somebody who has given the token.

        :param secure: whether the browser came by HTTPS.
        """
        return (
            f"{COOKIE}={self._cookie}; Path=/; Max-Age={COOKIE_DAYS * 86_400}; HttpOnly; "
            f"SameSite=Strict{'; Secure' if secure else ''}"
        )

    @staticmethod
    def _of_this_machine(host: str) -> bool:
        """Whether the browser asked for this machine by its own name.

        A page of another site can have its name lead to 127.0.0.1, and would read along.
        """
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        return is_loopback(name.strip("[]").lower())


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _cookie_of(token: str) -> str:
    return hmac.new(token.encode(), b"webevents live page, cookie 1", sha256).hexdigest()


def _cookie_in(headers: Mapping[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
