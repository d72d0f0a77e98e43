"""Malformed inputs: sound ones that were damaged, each made anew from its number alone."""

import random
from collections.abc import Callable, Sequence
from typing import Any

TOKENS = (
    *(b"NaN", b"-Infinity", b"1e999", b"-0", b"1" * 400, b"0x10", b"true", b"null", b"[]", b"{}"),
    *(b'"\\ud800"', b'"\\u0000"', b"\xff\xfe", b"\xef\xbb\xbf", b"\xc0\x80", b"\x00", b"\r", b"\n"),
    *(b'"', b"\\", b",", b":", b"{", b"}", b"[", b"]", b"&x", b"*x", b"!!python/none ", b"---\n"),
    *(b"[" * 300, b'{"a":' * 300, b"%", b"+", b";", b"=", b"\xf0\x9f\x92\xa5", b"\xe2\x80\xa8"),
)
"""Pieces that parsers stumble over."""

VALUES: Sequence[Any] = (
    *(None, True, False, 0, -1, 2**63, -(2**63) - 1, 10**40, 0.1, -1e308, "", "x" * 3000, "\0"),
    *("1", "true", "2026-13-45", "9999-12-31T23:59:59Z", "0001-01-01", "2026-02-30T25:61:61+99:99"),
    *([], {}, [[]], [{}], {"": ""}, {"a": {"b": {"c": None}}}, "\u202e", "é" * 300, [None] * 50),
    *(
        "http://[::1",
        "http://a:99999/",
        "//",
        "1.2.3.4.5",
        "::ffff:1.2.3.4%eth0",
        "=?utf-8?q?=00?=",
    ),
)
"""Values that do not belong where they are put."""


def mutated(rng: random.Random, value: Any) -> Any:
    """A JSON value with something else in one place."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        kind = rng.random()
        if kind < 0.1:
            return {name: member for name, member in value.items() if name != key}
        if kind < 0.15:
            return {**value, str(rng.choice(VALUES)): value[key]}
        return {**value, key: mutated(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.85:
        place = rng.randrange(len(value))
        return [*value[:place], mutated(rng, value[place]), *value[place + 1 :]]
    if isinstance(value, str) and value.startswith("{") and rng.random() < 0.5:
        return damaged(rng, value.encode()).decode("utf-8", "replace")
    return rng.choice(VALUES)


def damaged(rng: random.Random, raw: bytes, other: bytes = b"") -> bytes:
    """Bytes that are cut, repeated, overwritten, or mixed with others."""
    made = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        where = rng.randrange(len(made) + 1)
        match rng.randrange(7):
            case 0:
                del made[where:]
            case 1:
                del made[where : where + rng.randint(1, 9)]
            case 2:
                made[where : where + 1] = bytes([rng.randrange(256)])
            case 3 | 4:
                made[where:where] = rng.choice(TOKENS)
            case 5:
                made[where:where] = made[max(0, where - rng.randint(1, 60)) : where]
            case 6:
                made[where:] = other[rng.randrange(len(other) + 1) :] if other else b""
    return bytes(made)


def make_input(
    name: str, number: int, seeds: Sequence[Any], encode: Callable[[Any], bytes]
) -> bytes:
    """Input ``number`` of a target.

    :param seeds: sound inputs: bytes, or JSON values.
    :param encode: writes a JSON value as an input.
    """
    rng = random.Random(f"{name}:{number}")
    value, other = rng.choice(seeds), rng.choice(seeds)
    kind = rng.random()
    if kind > 0.99:
        return rng.randbytes(rng.randrange(200))
    if not isinstance(value, bytes):
        if kind < 0.6:
            for _ in range(rng.randint(1, 3)):
                value = mutated(rng, value)
        value, other = encode(value), encode(other)
        if 0.1 < kind < 0.6:
            return value
    return damaged(rng, value, other)
