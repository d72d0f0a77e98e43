"""Fields that are made together from the same fields of the event."""

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from webevents.logic.enrich.cache import Cache

CACHE_SIZE = 10_000
"""Distinct inputs that a group remembers (twice that at most; see :class:`Cache`)."""

_encode = msgspec.json.Encoder().encode


class Carried:
    """What an event carries in the fields of a group; null and empty text count as absent.

    :param held: the fields as decoded, also those without a value.
    :param overwrite: fields whose carried value gives way to a computed one.
    """

    __slots__ = ("_held", "_overwrite", "_values")

    def __init__(self, held: Mapping[str, Any], overwrite: Collection[str] = ()) -> None:
        self._held = held
        self._values = {
            name: value
            for name, value in held.items()
            if value is not UNSET and not is_empty(value)  # most are UNSET: a call less for each
        }
        self._overwrite = overwrite

    def get(self, name: str) -> Any:
        """The carried value, or None."""
        return self._values.get(name)

    def is_blank(self, name: str) -> bool:
        """Whether the event carries the field as text without content."""
        return isinstance(self._held.get(name), str) and name not in self._values

    def keeps(self, name: str, computed: Any) -> bool:
        """Whether the carried value stays, where this is the computed one."""
        return name in self._values and (name not in self._overwrite or is_empty(computed))

    def overwrites(self, name: str) -> bool:
        """Whether a computed value goes before a carried one."""
        return name in self._overwrite

    def choose(self, name: str, computed: Any) -> Any:
        """The value that the field has in the end: the carried or the computed one."""
        return self._values[name] if self.keeps(name, computed) else computed


Compute = Callable[[Carried], dict[str, Any]]
"""Computes the fields of a group; those that cannot be known are None, empty, or left out."""


class Additions(NamedTuple):
    """What a group does to an event."""

    fragment: bytes
    """Absent fields as JSON members, each after a comma: ``,"channel":"Direct"``."""
    replacements: dict[str, msgspec.Raw] | None
    """Fields that the event holds as null, as empty text, or that are overwritten."""


class Group:
    """Computes some fields from some fields, once per distinct input.

    :param inputs: fields of the event that are read.
    :param outputs: fields that are made; read too, since carried values win.
    :param compute: a function without side effects that never raises.
    :param overwrite: fields whose carried value gives way to a computed one.
    """

    def __init__(
        self,
        inputs: Collection[str],
        outputs: Collection[str],
        compute: Compute,
        overwrite: Collection[str] = (),
    ) -> None:
        self._names = tuple(dict.fromkeys((*inputs, *outputs)))
        self._outputs = frozenset(outputs)
        self._compute = compute
        self._overwrite = frozenset(overwrite)
        self.additions: Cache[tuple[Any, ...], Additions] = Cache(self._make, CACHE_SIZE)
        """What the group does to events that carry these values."""

    def reader(self, fields: Sequence[str]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
        """Make the function that takes the key of :attr:`additions` from an event's values.

        :param fields: names of the values, in their order.
        """
        return itemgetter(*map(fields.index, self._names))

    def _make(self, key: tuple[Any, ...]) -> Additions:
        held = dict(zip(self._names, key, strict=True))
        carried = Carried(held, self._overwrite)
        absent: dict[str, Any] = {}
        replaced: dict[str, msgspec.Raw] = {}
        for name, computed in self._compute(carried).items():
            assert name in self._outputs, name
            if is_empty(computed) or carried.keeps(name, computed) or held[name] == computed:
                continue
            if held[name] is UNSET:
                absent[name] = computed
            else:
                replaced[name] = msgspec.Raw(_encode(computed))
        fragment = b"," + _encode(absent)[1:-1] if absent else b""
        return Additions(fragment, replaced or None)


def is_empty(value: Any) -> bool:
    """Whether a value says nothing: absent, null, or text of white space only."""
    return value is UNSET or value is None or (isinstance(value, str) and not value.strip())
