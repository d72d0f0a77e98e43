"""How fast the simulator and the replay make events: events per second of one core.

Usage: ``python tests/bench/sources.py [--events N] [--rounds N] [--report FILE]``. Each run is a
process of its own; its CPU time counts, from the first event on. The simulator's events go nowhere,
or to Kafka; the replay reads the same events as NDJSON, CSV and Parquet and sends them to Kafka.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from confluent_kafka.admin import AdminClient
from measure import Spread, arguments, interleaved, publish

from webevents.connectors.kafka import Topic, client_config, ensure_topics
from webevents.local.kafka_server import EmbeddedKafka
from webevents.sources.output import FileOutput, KafkaOutput, Output
from webevents.sources.replay import ReplaySettings, replay
from webevents.sources.simulator import run_simulator
from webevents.spec.generator import GeneratorSpec
from webevents.spec.kafka import KafkaSpec


class Nowhere:
    """An output that only counts."""

    count = 0

    def send(self, key: bytes | None, value: bytes, timestamp_ms: int | None) -> None:
        self.count += 1

    def flush(self, timeout_s: float) -> None:
        pass

    def close(self) -> None:
        pass


def simulate(profile: str, count: int, output: Output) -> None:
    """So many events of a profile, a day's traffic."""
    spec = {"profile": profile, "seed": 3, "eventsPerSecond": 500, "time": {"mode": "backdated"}}
    run_simulator(GeneratorSpec.model_validate(spec), output, count=count)


def kafka(address: str) -> Output:
    """A topic of its own."""
    config, topic = client_config(KafkaSpec(bootstrap_servers=address)), f"bench-{time.time_ns()}"
    ensure_topics(AdminClient(config), [Topic(topic, 4, {}, 1)])
    return KafkaOutput(config, topic)


CASES: dict[str, Callable[[int, str, Path], None]] = {
    # what: (events, address of Kafka, folder with the files)
    "simulator, web-events": lambda n, _, __: simulate("web-events", n, Nowhere()),
    "simulator, journeys": lambda n, _, __: simulate("journeys", n, Nowhere()),
    "simulator, web-events, to Kafka": lambda n, a, _: simulate("web-events", n, kafka(a)),
    "replay of NDJSON, to Kafka": lambda _, a, folder: replay_file(folder / "events.ndjson", a),
    "replay of CSV, to Kafka": lambda _, a, folder: replay_file(folder / "events.csv", a),
    "replay of Parquet, to Kafka": lambda _, a, folder: replay_file(folder / "events.parquet", a),
}


def replay_file(file: Path, address: str) -> None:
    """A file at full speed."""
    output = kafka(address)
    replay(ReplaySettings(path=str(file), speed=None), output)
    output.close()


def make_files(folder: Path, count: int) -> None:
    """The same events in three formats."""
    output = FileOutput(folder / "events.ndjson")
    simulate("web-events", count, output)
    output.close()
    with (folder / "events.ndjson").open() as lines:
        rows = pa.Table.from_pylist([json.loads(line) for line in lines])
    pyarrow.csv.write_csv(rows, folder / "events.csv")
    pyarrow.parquet.write_table(rows, folder / "events.parquet")


def one(what: str, count: int, address: str, folder: Path) -> None:
    """Run a case in this process and print its figures as JSON."""
    began, wall = time.process_time(), time.monotonic()
    CASES[what](count, address, folder)
    cpu = time.process_time() - began
    print(json.dumps({"per_core": count / cpu, "per_s": count / (time.monotonic() - wall)}))


def measure(count: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """All cases, in interleaved rounds."""
    with tempfile.TemporaryDirectory() as name, EmbeddedKafka(Path(name) / "kafka") as server:
        make_files(Path(name), count)

        def alone(what: str) -> dict[str, float]:
            told = [what, str(count), server.bootstrap, name]
            command = [sys.executable, __file__, "--one", *told]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            return dict(json.loads(done.stdout))

        return interleaved({what: partial(alone, what) for what in CASES}, rounds)


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """The figures as a table in Markdown: min / **median** / max."""
    lines = ["| | events per CPU second | events per second |", "|---|---|---|"]
    for what, figures in found.items():
        per_core, per_s = (Spread(tuple(figures[name])) for name in ("per_core", "per_s"))
        lines.append(f"| {what} | {per_core} | {per_s} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], int(sys.argv[3]), sys.argv[4], Path(sys.argv[5]))
        return
    asked = arguments(__doc__, events=300_000, rounds=3).parse_args()
    found: Any = measure(asked.events, asked.rounds)
    publish(table(found), found, asked.report)


if __name__ == "__main__":
    main()
