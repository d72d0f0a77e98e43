"""Moving a tracker's values into the project's fields, by a table, and only where the type fits."""

import math
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any

from msgspec import UNSET, UnsetType

from webevents.events.fields import BY_NAME, Kind

Table = tuple[tuple[str, str], ...]
"""Pairs of a path in what the tracker sent (``context.page.url``) and a field. Where several fill
one field the first that has a value wins."""

_TRUE = frozenset(("true", "1", "yes"))
_FALSE = frozenset(("false", "0", "no"))
_LONGEST = 1 << 63


def _text(value: Any) -> str | UnsetType:
    return value if isinstance(value, str) else UNSET


def _identifier(value: Any) -> str | int | float | UnsetType:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return UNSET
    return value


def _address(value: Any) -> str | UnsetType:
    try:
        return value if isinstance(value, str) and ip_address(value) else UNSET
    except ValueError:
        return UNSET


def _boolean(value: Any) -> bool | UnsetType:
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else ""
    return True if word in _TRUE else False if word in _FALSE else UNSET


def _double(value: Any) -> float | UnsetType:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return UNSET
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return UNSET
    return number if math.isfinite(number) else UNSET


def _long(value: Any) -> int | UnsetType:
    number = _double(value)
    if number is UNSET or number != int(number) or abs(number) >= _LONGEST:
        return UNSET
    return int(value) if isinstance(value, int) else int(number)


CONVERTERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.KEYWORD: _text,
    Kind.TEXT: _text,
    Kind.DATE: _text,
    Kind.ID: _identifier,
    Kind.IP: _address,
    Kind.BOOLEAN: _boolean,
    Kind.LONG: _long,
    Kind.DOUBLE: _double,
}
"""How a tracker's value becomes one of a kind; ``UNSET`` where it cannot."""


class Mapping:
    """Moves values by a table.

    :param table: what goes where.
    """

    def __init__(self, table: Table) -> None:
        groups: dict[tuple[str, ...], list[tuple[str, str, Callable[[Any], Any]]]] = {}
        for path, name in table:
            *parents, leaf = path.split(".")
            convert = CONVERTERS[BY_NAME[name].kind]
            groups.setdefault(tuple(parents), []).append((leaf, name, convert))
        self._groups = tuple(groups.items())

    def move(self, item: dict[str, Any], fields: dict[str, Any]) -> None:
        """Take what has a field out of an item.

        Null and empty text count as absent and are taken out too. A value of the wrong type, or
        another one than the field already has, stays in the item.
        """
        for parents, leaves in self._groups:
            node: Any = item
            for parent in parents:
                node = node.get(parent) if isinstance(node, dict) else None
            if not isinstance(node, dict) or not node:
                continue
            for leaf, name, convert in leaves:
                if leaf not in node:
                    continue
                value = node[leaf]
                if value is None or value == "":
                    del node[leaf]
                    continue
                converted = convert(value)
                if converted is not UNSET and fields.setdefault(name, converted) == converted:
                    del node[leaf]
            if not node and parents:
                _prune(item, parents)


def _prune(item: dict[str, Any], path: Iterable[str]) -> None:
    """Take out the empty objects along a path."""
    nodes = [item]
    names = list(path)
    for name in names[:-1]:
        nodes.append(nodes[-1][name])
    for node, name in zip(reversed(nodes), reversed(names), strict=True):
        if node[name]:
            return
        del node[name]
