"""Origins that may send, and the CORS headers for their browsers (https://fetch.spec.whatwg.org)."""

from collections.abc import Mapping, Sequence

Headers = list[tuple[str, str]]
MAX_AGE_S = 7200
"""How long a browser may keep the answer to a preflight request; Chromium's own limit."""


class Origins:
    """A set of origins.

    :param patterns: as spec.collector.allowedOrigins has them.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._all = "*" in patterns
        self._exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
        self._below = tuple(
            tuple(pattern.split("*", 1)) for pattern in patterns if "://*." in pattern
        )

    def allow(self, origin: str) -> bool:
        """Whether pages of an origin may send."""
        origin = origin.lower()
        if self._all or origin in self._exact:
            return True
        return any(
            origin.startswith(scheme) and origin.endswith(host) and len(origin) > len(scheme + host)
            for scheme, host in self._below
        )


def cors(origin: str) -> Headers:
    """What an answer to an allowed origin's page says; with cookies no ``*`` will do."""
    return [
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("vary", "Origin"),
    ]


def preflight(headers: Mapping[str, str]) -> Headers:
    """What the answer says beside, to a browser that asks before it sends."""
    asked = headers.get("access-control-request-headers")
    return [
        ("access-control-allow-methods", "GET, POST, OPTIONS"),
        *([("access-control-allow-headers", asked)] if asked else []),
        ("access-control-max-age", str(MAX_AGE_S)),
    ]
