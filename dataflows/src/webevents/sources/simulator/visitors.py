"""Visitors: who they are, and who of them is free to visit."""

from collections import defaultdict, deque
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from webevents.sources.simulator.agents import AGENTS, CRAWLERS, Agent
from webevents.sources.simulator.chance import Choice
from webevents.sources.simulator.fragments import browser, geography
from webevents.sources.simulator.places import PLACES, Place, public_address, reserved_address
from webevents.spec.generator import GeneratorSpec

REMEMBERED = 200_000
"""Visitors that can come back; more are forgotten after their visit, to bound the memory."""

CRAWLER_PLACES = 3
"""Crawlers run in data centres of the first few places."""

_FIRST = (
    *("ada", "amir", "anna", "ben", "chloe", "david", "elena", "emma", "fatima", "felix"),
    *("grace", "hiro", "ines", "ivan", "jan", "julia", "karin", "leo", "lucia", "maria"),
    *("maya", "nina", "noah", "olga", "omar", "paul", "priya", "rosa", "sam", "yuki"),
)
_LAST = (
    *("almeida", "andersson", "bauer", "brown", "costa", "dubois", "garcia", "haddad", "ito"),
    *("jansen", "kim", "kowalska", "kumar", "lopez", "martin", "meyer", "moreau", "nguyen"),
    *("novak", "okafor", "patel", "rossi", "santos", "schmidt", "silva", "smith", "tanaka"),
    *("weber", "wilson", "young"),
)
_DOMAINS = ("example.com", "example.org", "example.net", "mail.example", "post.example")
"""Reserved for documentation (RFC 2606): no mail ever arrives there."""


_NAMES = tuple(f"{first}.{last}" for first in _FIRST for last in _LAST)


class Setting(NamedTuple):
    """Where and with what someone browses, with the fields that say so."""

    place: Place
    agent: Agent
    geography: bytes
    browser: bytes


class Visitor:
    """One visitor.

    :ivar name: identifies the visitor in the truth.
    :ivar address: the IP address as the field of an event.
    :ivar identity: the last fields of the visitor's events, with the closing brace.
    :ivar ordinal: number of the visitor's visits so far.
    """

    __slots__ = ("address", "browser", "geography", "identity", "is_bot", "name", "ordinal")

    def __init__(
        self, name: bytes, address: str, setting: Setting, identity: bytes, is_bot: bool
    ) -> None:
        self.name = name
        self.address = b'"ip_address":"%s",' % address.encode()
        self.geography = setting.geography
        self.browser = setting.browser
        self.identity = identity
        self.is_bot = is_bot
        self.ordinal = 0


class Population:
    """Who the visitors are; their attributes agree with one another.

    :param rng: decides about all but identifiers.
    """

    def __init__(self, spec: GeneratorSpec, rng: Random) -> None:
        self._random = rng.random
        self._public = spec.addresses == "public"
        of_platform: dict[str, float] = defaultdict(float)
        for agent in AGENTS:
            of_platform[agent.platform] += agent.weight
        self._people = Choice(
            (_setting(place, agent), place.weight * share * agent.weight)
            for place in PLACES
            for agent in AGENTS
            if (share := spec.platforms.get(agent.platform, 0) / of_platform[agent.platform])
        )
        self._crawlers = Choice(
            (_setting(place, agent), agent.weight)
            for place in PLACES[:CRAWLER_PLACES]
            for agent in CRAWLERS
        )

    def setting(self, is_bot: bool) -> Setting:
        """The setting of a new visitor."""
        return (self._crawlers if is_bot else self._people).pick(self._random())

    def address(self, place: Place, number: int) -> str:
        """The visitor's IP address."""
        return public_address(place, number) if self._public else reserved_address(number)

    def email(self, number: int) -> str:
        """An e-mail address that only this visitor has."""
        name = _NAMES[int(self._random() * len(_NAMES))]
        return f"{name}{number}@{_DOMAINS[number % len(_DOMAINS)]}"


def _setting(place: Place, agent: Agent) -> Setting:
    return Setting(place, agent, geography(place), browser(agent, place))


class Pool:
    """Visitors who are free, on a break after a visit, or not made yet.

    :param make: makes the visitor of a number.
    :param size: visitors at the start; more are made when none is free.
    :param break_us: the shortest time between two visits of one visitor.
    """

    def __init__(
        self, make: Callable[[int], Visitor], size: int, break_us: int, rng: Random
    ) -> None:
        self._make = make
        self._random = rng.random
        self._unmade = size
        self._made = 0
        self._break_us = break_us
        self._free: list[Visitor] = []
        self._resting: deque[tuple[int, Visitor]] = deque()
        self._limit = max(size, REMEMBERED)

    def take(self, now_us: int) -> Visitor:
        """A free visitor at random, who is then busy."""
        free, resting = self._free, self._resting
        while resting and resting[0][0] <= now_us:
            free.append(resting.popleft()[1])
        choices = self._unmade + len(free)
        if choices:
            index = int(self._random() * choices) - self._unmade
            if index >= 0:
                free[index], free[-1] = free[-1], free[index]
                return free.pop()
            self._unmade -= 1
        self._made += 1
        return self._make(self._made - 1)

    def leave(self, visitor: Visitor, now_us: int) -> None:
        """The visitor's visit ended at ``now_us``; times of calls do not decrease."""
        if len(self._resting) + len(self._free) < self._limit and not visitor.is_bot:
            self._resting.append((now_us + self._break_us, visitor))
