"""Running the simulator into an output, at its pace, until something ends it."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from webevents.events.times import EPOCH, to_us
from webevents.sources.output import Output
from webevents.sources.pacing import Pacer, RatePacer, SettingsFile, SpeedPacer, Unpaced, never
from webevents.sources.simulator.engine import Simulator
from webevents.sources.simulator.incidents import incidents_path, write_incidents
from webevents.sources.simulator.truth import TruthWriter
from webevents.spec.generator import GeneratorSpec

HISTORY = timedelta(hours=24)
"""How far back accelerated and backdated time begin unless the spec says otherwise."""
FLUSH_S = 60.0
PROGRESS_S = 0.25


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What a run did."""

    sent: int
    """Messages sent; copies and corrupt ones count."""
    seconds: float
    """How long it took."""
    seed: int
    """The seed in use."""
    start_us: int
    """Where simulated time began; with the seed it repeats the run."""


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Hundreds of thousands of visitors are alive and none of them is garbage: looking through
    them as often as usual would take 40% of the time."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def run_simulator(
    spec: GeneratorSpec,
    output: Output,
    *,
    count: int | None = None,
    seconds: float | None = None,
    truth_path: str | Path | None = None,
    rate_file: str | Path | None = None,
    stop: Callable[[], bool] = never,
    progress: Callable[[int], None] | None = None,
    replica: int = 0,
    key_fields: Sequence[str] | None = None,
    start_us: int | None = None,
) -> SimulationResult:
    """Send simulated events until the count, the time, the span or ``stop`` ends it, then flush.

    Accelerated time that catches up with the clock goes on at the clock's pace, because brokers
    refuse records from the future.

    :param output: where events go; it is flushed, and closed by the caller.
    :param count: messages to send at most.
    :param seconds: seconds to run at most, by the wall clock.
    :param truth_path: file for the truth of each message, in their order; the incidents' goes
        beside it (:func:`~webevents.sources.simulator.incidents.incidents_path`).
    :param rate_file: JSON file that changes the rate while running: ``{"eventsPerSecond": n}``
        in wall-clock time (the total of all replicas), ``{"speed": n}`` in accelerated time.
    :param stop: asked several times a second.
    :param progress: called about four times a second with the number of messages so far.
    :param replica: which of ``spec.replicas`` this is, from 0.
    :param key_fields: see :class:`~webevents.sources.simulator.engine.Simulator`.
    :param start_us: see there; where absent, ``spec.time.start``, else now in wall-clock time and
        24 hours ago otherwise.
    :raises webevents.sources.output.DeliveryError: when a message cannot be delivered.
    :raises webevents.errors.UserError: for key fields that the profile does not have.
    """
    began = time.monotonic()
    now_us = int(time.time() * 1e6)
    mode = spec.time.mode
    replicas = max(spec.replicas, replica + 1)

    def ended() -> bool:
        return stop() or (seconds is not None and time.monotonic() - began >= seconds)

    if start_us is None and spec.time.start is not None and mode != "wallClock":
        start_us = to_us(spec.time.start - EPOCH)
    if start_us is None:
        start_us = now_us if mode == "wallClock" else now_us - to_us(HISTORY)
    end_us = now_us if mode == "backdated" and spec.time.duration is None else None
    simulator = Simulator(
        spec, replica=replica, replicas=replicas, start_us=start_us, end_us=end_us,
        key_fields=key_fields, slots=lambda: slots.next_us(),
    )  # fmt: skip
    slots = RatePacer(
        simulator.events_per_second(),
        settings=SettingsFile(rate_file, "eventsPerSecond") if rate_file else None,
        share=1 / replicas,
        start_us=start_us,
        stop=ended,
    )
    # In wall-clock time the simulator itself waits for its next slot.
    pacer: Pacer | None = Unpaced(ended) if mode == "backdated" else None
    if mode == "accelerated":
        pacer = SpeedPacer(
            spec.time.speed,
            settings=SettingsFile(rate_file, "speed") if rate_file else None,
            stop=ended,
            not_after=time.time if start_us <= now_us else None,
        )
    if truth_path and simulator.incidents:
        write_incidents(simulator.incidents, incidents_path(truth_path))
    sent = 0
    with ExitStack() as stack:
        stack.enter_context(_rare_collections())
        truth = stack.enter_context(TruthWriter(truth_path)) if truth_path else None
        next_report = 0.0
        for message in simulator:
            if sent == count or (pacer is not None and not pacer.wait(message.arrival_us)):
                break
            # A broker deletes records by their own time, so those of the past are made now.
            output.send(
                message.key,
                message.value,
                message.arrival_us // 1000 if mode == "wallClock" else None,
            )
            sent += 1
            if truth is not None:
                truth.write(message.truth)
            if progress is not None and time.monotonic() >= next_report:
                progress(sent)
                next_report = time.monotonic() + PROGRESS_S
            if sent == count:
                break
        output.flush(FLUSH_S)
    if progress is not None:
        progress(sent)
    return SimulationResult(sent, time.monotonic() - began, simulator.seed, start_us)
