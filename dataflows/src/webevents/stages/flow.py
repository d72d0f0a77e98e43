"""The thin layer to the engine: a stage as a Bytewax dataflow of one source, one step, one sink."""

from collections.abc import Callable

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main
from confluent_kafka import KafkaException

from webevents.stages.chunk import Chunk, Outcome, Processor
from webevents.stages.task import StreamTask, TaskLost

Done = tuple[Chunk, Outcome]


class _Read(StatelessSourcePartition[Chunk]):
    def __init__(self, task: StreamTask) -> None:
        self._task = task

    def next_batch(self) -> list[Chunk]:
        try:
            return self._task.read()
        except (TaskLost, KafkaException) as error:
            # Foreseen: the flow ends, and run() tells why, without the engine's panic. As an error
            # of its own, because this one and its causes hold all frames, and these the state.
            self._task.failure = type(error)(*error.args)
            raise StopIteration from None


class _Take(StatelessSinkPartition[Done]):
    def __init__(self, task: StreamTask) -> None:
        self._task = task

    def write_batch(self, items: list[Done]) -> None:
        for chunk, outcome in items:
            self._task.take(chunk, outcome)


class _Source(DynamicSource[Chunk]):
    def __init__(self, task: StreamTask) -> None:
        self._task = task

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Read:
        return _Read(self._task)


class _Sink(DynamicSink[Done]):
    def __init__(self, task: StreamTask) -> None:
        self._task = task

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Take:
        return _Take(self._task)


def dataflow(name: str, task: StreamTask, processor: Processor) -> Dataflow:
    """Make the dataflow: an item is a chunk, so that the engine is paid once a chunk.

    Source and sink share the task, because offsets are committed in the sink's transaction; the
    engine runs both on one worker in one process, and Kafka's consumer group divides the work
    among processes.
    """
    process: Callable[[Chunk], Done] = lambda chunk: (chunk, processor.process(chunk))  # noqa: E731
    flow = Dataflow(name)
    chunks = op.input("read", flow, _Source(task))
    done = op.map("process", chunks, process)
    op.output("write", done, _Sink(task))
    return flow


def run(name: str, task: StreamTask, processor: Processor) -> None:
    """Run the dataflow until the task ends.

    :raises TaskLost, KafkaException: when it must start anew from what is committed.
    :raises Exception: what a step raised, without the engine's wrapping.
    """
    try:
        run_main(dataflow(name, task, processor))  # type: ignore[no-untyped-call]
    except BytewaxRuntimeError as error:
        cause: BaseException = error
        while isinstance(cause, BytewaxRuntimeError) and cause.__cause__ is not None:
            cause = cause.__cause__
        raise cause from None
    if task.failure is not None:
        raise task.failure
