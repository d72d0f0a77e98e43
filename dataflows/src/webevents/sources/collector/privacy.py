"""Whether an event may be kept, and what of it, by what the visitor wants."""

from collections.abc import Mapping
from enum import IntEnum
from ipaddress import ip_address, ip_network
from typing import Any

from webevents.spec.collector import CollectorPrivacySpec

IDENTIFIERS = (
    "user_domain_id",
    "user_id",
    "user_custom_id",
    "user_email_domain",
    "session_id",
    "click_id",
)
"""Fields that tell a person, or follow one."""
PREFIX_V4, PREFIX_V6 = 24, 48
"""What is left of an anonymous address; the same lengths as analytics tools commonly use."""


class Handling(IntEnum):
    """How an event is handled; the strictest wish wins."""

    FULL = 0
    ANONYMOUS = 1
    DROP = 2


_HANDLING = {"ignore": Handling.FULL, "anonymous": Handling.ANONYMOUS, "drop": Handling.DROP}


class Privacy:
    """Reads the visitor's wishes."""

    def __init__(self, spec: CollectorPrivacySpec) -> None:
        self._always = Handling.ANONYMOUS if spec.anonymous else Handling.FULL
        self._signals = (
            ("dnt", _HANDLING[spec.do_not_track]),
            ("sec-gpc", _HANDLING[spec.global_privacy_control]),
        )
        self._consent = spec.consent

    @property
    def consent_cookie(self) -> str | None:
        """The cookie that holds the answer, where there is one."""
        return self._consent.cookie if self._consent else None

    def of_request(self, headers: Mapping[str, str]) -> Handling:
        """What the request's headers ask for; SP-Anonymous is Snowplow's own."""
        handling = self._always
        for name, wish in self._signals:
            if wish > handling and headers.get(name) == "1":
                handling = wish
        if handling is Handling.FULL and "sp-anonymous" in headers:
            return Handling.ANONYMOUS
        return handling

    def granted(self, cookie: str | None) -> bool | None:
        """Whether the cookie says yes; None where nobody asks for consent."""
        return None if self._consent is None else cookie in self._consent.granted

    def of_consent(self, cookie: str | None, stated: bool | None) -> Handling:
        """What the visitor's answer to the consent manager allows.

        :param cookie: the value of :attr:`consent_cookie`.
        :param stated: what the event itself says.
        """
        spec = self._consent
        if spec is None:
            return Handling.FULL
        answer = self.granted(cookie) if stated is None else stated
        if stated is None and cookie is None:
            answer = not spec.required
        return Handling.FULL if answer else _HANDLING[spec.without]


def anonymise(fields: dict[str, Any]) -> None:
    """Take identifiers out, and the last part of the address."""
    for name in IDENTIFIERS:
        fields.pop(name, None)
    if "ip_address" in fields:
        fields["ip_address"] = _masked(fields["ip_address"])


def _masked(address: Any) -> str | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    prefix = PREFIX_V4 if parsed.version == 4 else PREFIX_V6
    return str(ip_network((parsed, prefix), strict=False).network_address)
