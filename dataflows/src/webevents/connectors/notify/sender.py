"""Sending to one receiver, in a thread of its own, until it has taken what it was sent.

A receiver that is slow or away holds up nobody else. What fails for a reason that may pass or can
be mended (no connection, a timeout, a wrong key or address) is tried again with growing pauses;
only what the receiver calls malformed is not.
"""

import http.client
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import structlog

from webevents.connectors.notify.messages import Notice, Request, request_for
from webevents.connectors.retrying import LOG_EVERY_S, Backoff
from webevents.errors import UserError
from webevents.spec.alerts import Receiver

log = structlog.get_logger()

FINAL = frozenset({400, 413, 415, 422})
"""Answers that say of the request itself that it will never do (RFC 9110)."""
LONGEST_WAIT_S = 60.0
BACKOFF = Backoff(base_s=1.0, cap_s=LONGEST_WAIT_S)
CLOSE_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a notice."""

    receiver: str
    notice: Notice
    delivered: bool
    """False where the receiver refused it for good."""


class Failure(Exception):
    """An attempt in vain.

    :param final: whether further attempts would be refused too.
    :param wait_s: how long the receiver asked to wait.
    """

    def __init__(self, reason: str, *, final: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.final = final
        self.wait_s = wait_s


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could send a secret elsewhere, and turns a POST into a GET."""

    def redirect_request(self, *_: Any) -> None:
        return None


# Proxies of the environment (HTTPS_PROXY, NO_PROXY) are used.
_open = urllib.request.build_opener(_NoRedirect).open


def post(request: Request, timeout_s: float) -> None:
    """Make one attempt.

    :raises Failure: when the receiver did not take it; the reason names no URL.
    """
    try:
        made = urllib.request.Request(  # noqa: S310 - the spec takes http and https only
            request.url, request.body, request.headers, method="POST"
        )
        _open(made, timeout=timeout_s).close()  # its status says all
    except urllib.error.HTTPError as error:
        with error:
            final = error.code in FINAL
            wait_s = _wait_asked(error.headers.get("Retry-After"))
            raise Failure(f"HTTP {error.code}", final=final, wait_s=wait_s) from None
    except urllib.error.URLError as error:
        raise Failure(f"no connection: {_reason(error.reason)}") from None
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"no answer: {_reason(error)}") from None
    except ValueError:
        # The URL is no URL; its text may be a secret.
        raise Failure("the URL cannot be used") from None


def _reason(error: object) -> str:
    """Why, without a URL: the class, and the system's word for it."""
    word = getattr(error, "strerror", None)
    return f"{type(error).__name__}: {word}" if word else type(error).__name__


def _wait_asked(header: str | None) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110: seconds, or a date)."""
    if header is None:
        return 0.0
    try:
        return float(header)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(header).timestamp() - time.time()
    except (ValueError, TypeError):
        return 0.0


class Sender:
    """Tells one receiver, one notice after the other.

    :param name: the receiver's, for reports and logs.
    :param backoff: pauses between attempts.
    """

    def __init__(
        self,
        name: str,
        receiver: Receiver,
        reports: Callable[[Report], None],
        backoff: Backoff = BACKOFF,
    ) -> None:
        self.name = name
        self.receiver = receiver
        self.attempts_in_vain = 0
        """Since the process began."""
        self._reports = reports
        self._backoff = backoff
        self._notices: queue.SimpleQueue[Notice | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._next_log = 0.0
        self._thread = threading.Thread(target=self._run, name=f"notify-{name}", daemon=True)
        self._thread.start()

    def send(self, notice: Notice) -> None:
        """Send it as soon as those before it are sent; a report tells when it is."""
        self._notices.put(notice)

    def close(self) -> None:
        """Give up what is not sent yet; whoever asked for it has no report and asks again."""
        self._closed.set()
        self._notices.put(None)
        self._thread.join(CLOSE_WAIT_S)

    def _run(self) -> None:
        while (notice := self._notices.get()) is not None and not self._closed.is_set():
            delivered = self._deliver(notice)
            if delivered is not None:
                self._reports(Report(self.name, notice, delivered))

    def _deliver(self, notice: Notice) -> bool | None:
        """Whether it was taken in the end, or refused; None where the process ends before."""
        attempt = 0
        timeout_s = self.receiver.timeout.total_seconds()
        while not self._closed.is_set():
            try:
                post(request_for(self.receiver, notice, time.time_ns() // 1000), timeout_s)
                return True
            except UserError as error:
                failure = Failure(str(error))
            except Failure as error:
                failure = error
            except Exception as error:
                # A fault of our own must not end the thread; its text may hold a secret.
                failure = Failure(type(error).__name__)
            if failure.final:
                log.error(
                    "alert refused",
                    receiver=self.name,
                    alert_id=notice.alert.alert_id,
                    kind=notice.kind,
                    error=str(failure),
                )
                return False
            self.attempts_in_vain += 1
            wait_s = max(self._backoff.wait(attempt), min(failure.wait_s, LONGEST_WAIT_S))
            if time.monotonic() >= self._next_log:
                self._next_log = time.monotonic() + LOG_EVERY_S
                log.warning("alert waits", receiver=self.name, error=str(failure))
            attempt += 1
            self._closed.wait(wait_s)
        return None
