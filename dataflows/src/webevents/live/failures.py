"""Failed events by reason, each with its newest as an example."""

from typing import Any

from webevents.events.event import REASONS
from webevents.events.failed import FailedEvent, decode_failed
from webevents.live.windows import SlidingCounter

EXCERPT = 300
"""Characters of a failed event's content that are shown, where it is shown at all."""


class Failures:
    """Counts failed events over the last while.

    :param window_ms: how long that is.
    :param masked: whether their content stays hidden: it may be anybody's.
    """

    def __init__(self, window_ms: int, *, masked: bool) -> None:
        self._masked = masked
        self._reasons = SlidingCounter(window_ms, max_keys=100)
        self._examples: dict[str, FailedEvent] = {}

    def add(self, value: bytes, at_ms: int, now_ms: int) -> None:
        """Take a record of the topic.

        :raises msgspec.DecodeError: when it is none.
        """
        failed = decode_failed(value)
        self._reasons.add(failed.reason, at_ms, now_ms)
        if failed.reason in self._reasons.total:
            if self._masked:
                failed.payload = failed.payload_base64 = None
            else:
                content = failed.original()[: 4 * EXCERPT].decode("utf-8", "replace")
                failed.payload, failed.payload_base64 = content[: EXCERPT + 1], None
            self._examples[failed.reason] = failed

    def report(self, now_ms: int) -> dict[str, Any]:
        """Counts and examples."""
        self._reasons.expire(now_ms)
        total = self._reasons.total
        self._examples = {name: each for name, each in self._examples.items() if name in total}
        return {
            "total": total.total(),
            "reasons": [
                {"name": name, "count": count, "meaning": REASONS.get(name, "")}
                | (
                    {"example": self._example(self._examples[name])}
                    if name in self._examples
                    else {}
                )
                for name, count in total.most_common()
            ],
        }

    def _example(self, failed: FailedEvent) -> dict[str, Any]:
        made: dict[str, Any] = {
            "stage": failed.stage,
            "topic": failed.topic,
            "partition": failed.partition,
            "offset": failed.offset,
            "detail": failed.detail[:EXCERPT],
            "at": failed.failed_at,
            "size": failed.size,
        }
        if failed.payload:
            cut = len(failed.payload) > EXCERPT
            made["payload"] = failed.payload[:EXCERPT] + ("…" if cut else "")
        return made
