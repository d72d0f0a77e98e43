"""Client hints: what browsers tell of themselves beside a User-Agent that they keep vague.

https://wicg.github.io/ua-client-hints/
"""

import re
from collections.abc import Mapping
from typing import Any

WANTED = "Sec-CH-UA-Full-Version-List, Sec-CH-UA-Model, Sec-CH-UA-Platform-Version"
"""Hints that a browser sends only when asked to; the others come by themselves."""

_BRAND = re.compile(r'"([^"]*)";\s*v="([^"]*)"')
_NAMES = {
    "Google Chrome": "Chrome",
    "Microsoft Edge": "Edge",
    "Opera": "Opera",
    "Brave": "Brave",
    "Vivaldi": "Vivaldi",
    "Samsung Internet": "Samsung Internet",
    "YaBrowser": "Yandex Browser",
}
"""Brands of browsers under the names that enriching gives them."""
_SYSTEMS = {name: name for name in ("Windows", "macOS", "Android", "Linux", "Chrome OS", "iOS")} | {
    "Chromium OS": "Chrome OS"
}
_WINDOWS_11 = 13
"""Platform version from which Windows is 11 (Microsoft's documentation of the hint)."""


def hinted(headers: Mapping[str, str]) -> dict[str, Any]:
    """The fields that the hints of a request tell; none where it has none."""
    if "sec-ch-ua-platform" not in headers and "sec-ch-ua-full-version-list" not in headers:
        return {}
    fields: dict[str, Any] = {}
    for brand, version in _BRAND.findall(headers.get("sec-ch-ua-full-version-list") or ""):
        if name := _NAMES.get(brand):
            fields |= {"browser_name": name, "browser_version": version}
    system = _SYSTEMS.get(_text(headers, "sec-ch-ua-platform"))
    if system is not None:
        fields["os_name"] = system
        version = _text(headers, "sec-ch-ua-platform-version")
        if version:
            fields["os_version"] = _windows(version) if system == "Windows" else version
    if model := _text(headers, "sec-ch-ua-model"):
        fields["device_model"] = model
    return fields


def _text(headers: Mapping[str, str], name: str) -> str:
    """A hint's text, which stands in quotes."""
    return (headers.get(name) or "").strip().strip('"')


def _windows(version: str) -> str:
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) == 0:
        return version
    return "11" if int(major) >= _WINDOWS_11 else "10"
