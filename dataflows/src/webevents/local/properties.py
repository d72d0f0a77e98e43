"""Java properties files."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path


def write_properties(path: Path, settings: Mapping[str, str]) -> None:
    """Write a properties file that every reader understands, whatever encoding it takes.

    :param path: the file
    :param settings: names (ASCII, without spaces, ``=`` and ``:``) and values (any text)
    """
    lines = (f"{name}={_escape(value)}\n" for name, value in sorted(settings.items()))
    path.write_text("".join(lines), encoding="ascii")


def _escape(value: str) -> str:
    """Escape as java.util.Properties reads it: it drops leading blanks and reads Latin-1."""
    text = (
        value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    )
    if text.startswith(" "):
        text = "\\" + text
    return "".join(char if char.isascii() else _unicode(char) for char in text)


def _unicode(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{unit:04x}" for unit in struct.unpack(f">{len(units) // 2}H", units))
