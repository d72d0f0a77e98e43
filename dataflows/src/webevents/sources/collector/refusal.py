"""Refusing a request: nothing of it is taken, and the answer says why."""

REASONS: dict[str, int] = {
    "not_found": 404,
    "wrong_method": 405,
    "unknown_key": 401,
    "origin": 403,
    "head_too_large": 431,
    "body_too_large": 413,
    "batch_too_large": 413,
    "body_too_slow": 408,
    "body_incomplete": 400,
    "encoding": 415,
    "rate_of_site": 429,
    "rate_of_address": 429,
    "kafka_away": 503,
    "queue_full": 503,
    "spool_full": 503,
    "stopping": 503,
    "internal_error": 500,
}
"""Why a request can be refused, with the status; the label ``reason`` of the metric."""


class Refused(Exception):
    """A request that is not taken.

    :param reason: a word of :data:`REASONS`.
    :param detail: what is wrong, for the person who looks at the tracker.
    :param retry_after: seconds after which the tracker may send again.
    """

    def __init__(self, reason: str, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.status = REASONS[reason]
        self.detail = detail
        self.retry_after = retry_after
