"""Sending the rows of a file as events."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from webevents.errors import UserError
from webevents.events.times import from_us
from webevents.sources.output import Output
from webevents.sources.pacing import Pacer, SpeedPacer, Unpaced, never
from webevents.sources.replay.job import Job, Message
from webevents.sources.replay.mapping import RowError
from webevents.sources.replay.rows import Row, RowSource, Unreadable, open_source
from webevents.sources.replay.settings import STDIN, ReplaySettings
from webevents.sources.replay.streams import PatientStdin, ReadError
from webevents.sources.replay.timing import RowTimes

ISSUES_KEPT = 20
PROGRESS_EVERY_S = 0.25
FLUSH_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class RowIssue:
    """A row that was not sent, or was sent though it cannot be read."""

    row: int
    """Its number, from 1; the heading does not count."""
    line: int | None
    """The line in which it begins, from 1; None where there are no lines."""
    reason: str

    def __str__(self) -> str:
        where = f"row {self.row:,}" if self.line is None else f"line {self.line:,}"
        return f"{where}: {self.reason}"


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a replay did."""

    sent: int
    """Rows that the destination has acknowledged, where the replay ended well."""
    skipped: int
    """Rows that could not be sent."""
    broken_sent: int
    """Lines that cannot be read and were sent as they are; among ``sent``."""
    position: int
    """Rows of the file that are done with; ``skip`` of the next replay to go on here."""
    seconds: float
    """How long it took."""
    issues: tuple[RowIssue, ...]
    """The first of the rows that were skipped or are broken, at most :data:`ISSUES_KEPT`."""
    start: datetime | None
    """Where event times begin; None where rows kept their own."""
    ahead_seconds: float
    """How far the latest event_timestamp that was given lies ahead of the wall clock."""
    stopped: bool
    """Whether it was stopped before the end."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is."""

    rows: int
    sent: int
    skipped: int
    bytes_read: int
    bytes_total: int | None
    """None for standard input."""
    rows_total: int | None
    """Known for Parquet only."""


class RowJob(Protocol):
    """What becomes of a row."""

    start_us: int | None
    """Where event times begin, in microseconds since the epoch; None where rows keep their own."""
    passes_lines_on: bool
    """Whether rows are sent byte by byte as they are, also those that cannot be read."""
    times: RowTimes

    def message(self, row: Row, number: int, raw: bytes | None, time_us: int | None) -> Message:
        """Make a row's message; see :meth:`webevents.sources.replay.job.Job.message`."""


class Receiver(Protocol):
    """Where messages go."""

    def take(self, message: Message, row: int, line: int | None) -> bool:
        """Take a message over.

        :param row: the number of its row, from 1.
        :param line: the line in which the row begins, where there are lines.
        :returns: False where the replay is to stop; the message is not taken then.
        """

    def flush(self) -> None:
        """Wait until everything taken is acknowledged."""


class ReplayError(UserError):
    """The file could not be read to its end; what was read before is sent."""

    def __init__(self, text: str, result: ReplayResult) -> None:
        super().__init__(text)
        self.result = result


def replay(
    settings: ReplaySettings,
    output: Output,
    *,
    stop: Callable[[], bool] = never,
    progress: Callable[[Progress], None] | None = None,
    pacer: Pacer | None = None,
    clock: Callable[[], float] = time.time,
    stdin: BinaryIO | None = None,
) -> ReplayResult:
    """Send each row of a file as an event.

    :param output: where to; it is flushed, and left open.
    :param stop: asked before each row.
    :param progress: called about every :data:`PROGRESS_EVERY_S` seconds, and at the end.
    :param pacer: when rows may go; by ``settings.speed`` when absent.
    :param clock: the wall clock in seconds since the epoch.
    :param stdin: what to read where the path is ``-``; standard input when absent.
    :raises UserError: before anything is sent, when the settings do not fit the file.
    :raises ReplayError: when the file cannot be read to its end.
    :raises DeliveryError: when a message cannot be delivered.
    """
    if settings.path == STDIN and stdin is None:
        stdin = PatientStdin(stop)  # type: ignore[assignment]  # it reads, which is all it takes
    if pacer is None:
        pacer = Unpaced(stop) if settings.speed is None else SpeedPacer(settings.speed, stop=stop)
    source = open_source(settings, stdin)
    try:
        job = Job(settings, source.columns, int(clock() * 1e6))
        receiver = _ToOutput(output)
        return Replay(settings, source, job, receiver, stop, progress, pacer, clock).run()
    finally:
        source.close()


class _ToOutput:
    """Hands messages to an output."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def take(self, message: Message, row: int, line: int | None) -> bool:
        self._output.send(message.key, message.value, None)
        return True

    def flush(self) -> None:
        self._output.flush(FLUSH_TIMEOUT_S)


class Replay:
    """The state of one replay; the parameters are those of :func:`replay`.

    :param source: the rows; left open.
    :param job: what becomes of each row.
    :param receiver: where the messages go; flushed at the end.
    """

    def __init__(
        self,
        settings: ReplaySettings,
        source: RowSource,
        job: RowJob,
        receiver: Receiver,
        stop: Callable[[], bool],
        progress: Callable[[Progress], None] | None,
        pacer: Pacer,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._job = job
        self._receiver = receiver
        self._stop = stop
        self._progress = progress
        self._pacer = pacer
        self._clock = clock
        self._skip = settings.skip
        self._end = None if settings.limit is None else settings.skip + settings.limit
        self._began = time.monotonic()
        self._next_progress = self._began + PROGRESS_EVERY_S
        self._position = self._sent = self._skipped = self._broken = 0
        self._issues: list[RowIssue] = []
        self._latest_us: int | None = None
        self._stopped = False

    def run(self) -> ReplayResult:
        """Send the rows.

        :raises ReplayError: when the file cannot be read to its end.
        """
        try:
            self._send_rows()
        except ReadError as error:
            if not self._stop():  # a stop cuts standard input off
                self._receiver.flush()
                text = f"{error}; {self._sent:,} events were sent before"
                raise ReplayError(text, self._result()) from None
            self._stopped = True
        self._receiver.flush()
        self._report()
        return self._result()

    def _send_rows(self) -> None:
        if self._end is not None and self._end <= self._skip:
            return
        started = False
        for row in self._source:
            if self._stop():
                self._stopped = True
                return
            number = self._position + 1
            if number <= self._skip:
                self._pass_over(row)
                continue
            if not started:
                started = True
                origin_us = self._job.times.origin_us
                if origin_us is not None and not self._pacer.wait(origin_us):
                    self._stopped = True
                    return
            if not self._send(row, number):
                self._stopped = True
                return
            self._position = number
            if self._progress and time.monotonic() >= self._next_progress:
                self._report()
            if number == self._end:
                return
        # A stop ends standard input, which is the one that has no size.
        self._stopped = self._source.bytes_total is None and self._stop()

    def _pass_over(self, row: Row | Unreadable) -> None:
        if not isinstance(row, Unreadable):
            # An error was reported when the row was read for sending.
            with suppress(RowError):
                self._job.times.advance(row)
        self._position += 1

    def _send(self, row: Row | Unreadable, number: int) -> bool:
        """Send a row when its time has come; False where the replay is to stop."""
        job, source = self._job, self._source
        if isinstance(row, Unreadable):
            return self._send_broken(row.reason, number)
        try:
            time_us = job.times.advance(row)
            message = job.message(row, number, source.raw, time_us)
        except RowError as error:
            self._note(number, str(error))
            self._skipped += 1
            return True
        if not self._pacer.wait(job.times.stream_us):
            return False
        if not self._receiver.take(message, number, source.line):
            return False
        self._sent += 1
        if message.stamped_us is not None:
            self._latest_us = message.stamped_us
        return True

    def _send_broken(self, reason: str, number: int) -> bool:
        raw = self._source.raw
        if not self._job.passes_lines_on or raw is None:
            self._skipped += 1
        else:
            if not self._pacer.wait(self._job.times.stream_us):
                return False
            if not self._receiver.take(Message(None, raw, None), number, self._source.line):
                return False
            self._sent += 1
            self._broken += 1
        self._note(number, reason)
        return True

    def _note(self, number: int, reason: str) -> None:
        if len(self._issues) < ISSUES_KEPT:
            self._issues.append(RowIssue(number, self._source.line, reason))

    def _report(self) -> None:
        if self._progress is None:
            return
        self._next_progress = time.monotonic() + PROGRESS_EVERY_S
        self._progress(
            Progress(
                rows=self._position,
                sent=self._sent,
                skipped=self._skipped,
                bytes_read=self._source.bytes_read,
                bytes_total=self._source.bytes_total,
                rows_total=self._source.total,
            )
        )

    def _result(self) -> ReplayResult:
        start_us, latest_us = self._job.start_us, self._latest_us
        ahead_us = 0.0 if latest_us is None else max(0.0, latest_us - self._clock() * 1e6)
        return ReplayResult(
            sent=self._sent,
            skipped=self._skipped,
            broken_sent=self._broken,
            # A stop while rows are passed over must not have them sent next time.
            position=max(self._position, self._skip),
            seconds=time.monotonic() - self._began,
            issues=tuple(self._issues),
            start=None if start_us is None else from_us(start_us),
            ahead_seconds=ahead_us / 1e6,
            stopped=self._stopped,
        )
