"""What writers to all destinations have in common: waiting between attempts, telling of outages."""

import random
from dataclasses import dataclass

LOG_EVERY_S = 30.0
"""How often an outage is logged while it lasts."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waiting times between attempts: exponential, with full jitter."""

    base_s: float = 0.1
    cap_s: float = 15.0

    def wait(self, attempt: int) -> float:
        """Seconds to wait after an attempt in vain, counted from 0."""
        return random.uniform(0, min(self.cap_s, self.base_s * 2 ** min(attempt, 30)))


@dataclass(frozen=True, slots=True)
class Outage:
    """The destination does not take anything at the moment."""

    since: float
    """When it began, in seconds since the epoch."""
    error: str
    """What the last attempt met."""
    attempts: int
    """Attempts in vain since then."""
