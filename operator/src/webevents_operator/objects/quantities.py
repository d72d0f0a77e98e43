"""Amounts as the API server writes them back, so that an object equals what was applied."""

import re
from fractions import Fraction

from webevents.spec.kubernetes import AmountsSpec, ResourcesSpec
from webevents_operator.kinds import Object

_PARTS = re.compile(r"([0-9.]+)([A-Za-z]*)")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti")
_DECIMAL = ("m", "", "k", "M", "G", "T")


def canonical(quantity: str) -> str:
    """A quantity in its canonical form: no fraction, and the largest unit that permits it.

    The rules are those of Kubernetes' ``resource.Quantity``.
    """
    match = _PARTS.fullmatch(quantity)
    assert match, quantity
    number, unit = Fraction(match[1]), match[2]
    units, base = (_BINARY, 1024) if unit.endswith("i") else (_DECIMAL, 1000)
    place = units.index(unit)
    while number.denominator != 1 and place > 0:
        number, place = number * base, place - 1
    if number.denominator != 1:
        number = Fraction(-(-number.numerator // number.denominator))  # rounded up, as there
    while number and number % base == 0 and place < len(units) - 1:
        number, place = number / base, place + 1
    return f"{number.numerator}{units[place]}"


def resources(spec: ResourcesSpec) -> Object:
    """The resources of a container."""
    made = {"requests": _amounts(spec.requests), "limits": _amounts(spec.limits)}
    return {name: amounts for name, amounts in made.items() if amounts}


def _amounts(spec: AmountsSpec) -> dict[str, str]:
    named = {"cpu": spec.cpu, "memory": spec.memory}
    return {name: canonical(amount) for name, amount in named.items() if amount is not None}
