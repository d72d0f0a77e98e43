"""Correcting clocks: when an event happened by our clock, told by when its request was sent."""

from datetime import timedelta

from webevents.events.times import to_us


class ClockSkew:
    """Corrects the times of one device's clock.

    A request that is sent again arrives after another delay. Were the exact difference added, its
    events would get other times, and count twice in sessions; so only whole steps are corrected,
    which the delay of a request hardly changes.

    :param step: the step; none corrects nothing.
    """

    def __init__(self, step: timedelta) -> None:
        self._step = to_us(step)

    def correct(self, time_us: int, sent_us: int | None, received_us: int) -> int:
        """The time by our clock.

        :param time_us: when it happened, by the device's clock.
        :param sent_us: when the request was sent, by the same; None corrects nothing.
        :param received_us: when the request came, by ours.
        """
        if sent_us is None or not self._step:
            return time_us
        return time_us + round((received_us - sent_us) / self._step) * self._step
