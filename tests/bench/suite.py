"""All comparisons and measurements of speed in one run, written to docs/benchmarks.md.

``make bench`` runs it, with tests/support in PYTHONPATH; ROUNDS=3 and SCALE=1.0 (of the numbers of
events) may be set, and ONLY="enrich latency" names some parts. Every part is a script beside this
one with a table of its own; what was measured before stays in the document until its part is run
again. It takes about an hour on two cores.
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

from webevents.local.java import find_jdk

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "docs" / "benchmarks.md"
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SCALE = float(os.environ.get("SCALE", "1"))
ONLY = os.environ.get("ONLY", "").split()


@dataclass(frozen=True, slots=True)
class Part:
    """A script and what its table is about."""

    script: str
    title: str
    about: str
    events: tuple[str, int] | None = None
    """The option that sets a number, and its usual one."""
    rounds: bool = True
    scale: bool = False
    """Whether it takes ``--scale`` instead."""

    def command(self, report: Path) -> list[str]:
        """What to run."""
        command = [sys.executable, str(HERE / f"{self.script}.py"), "--report", str(report)]
        if self.events:
            name, number = self.events
            command += [name, str(max(1000, int(number * SCALE)))]
        if self.scale:
            command += ["--scale", str(SCALE)]
        if self.rounds:
            command += ["--rounds", str(ROUNDS)]
        return command


PARTS = (
    Part(
        "enrich",
        "Enrichment against other engines",
        "Raw topic to enriched topic, 4 partitions, one worker, events of 1.1 kB; all do the same "
        "work with the project's own logic, and what comes out is compared message by message. "
        "CPU is that of all the implementation's processes between the first and the last tenth "
        "of the output.",
        ("--events", 300_000),
    ),
    Part(
        "growth",
        "How enrichment grows",
        "The same, this project's stage alone: with more events, partitions and workers, and with "
        "poison (1 of 101 messages cannot be processed). The two workers share the machine's cores "
        "with the broker and with the measurement.",
        ("--events", 300_000),
    ),
    Part(
        "sessions",
        "Sessions without Kafka",
        "Visitors with an event every 10 minutes, 30% of them up to 5 minutes out of order, "
        "sessions of 30 minutes. `tracker` and `fold_window` make the same totals and records; "
        "those named `counts` only start, end and number. A replay is the same stream, years old.",
        scale=True,
    ),
    Part(
        "sessions_kafka",
        "Sessions from topic to topic",
        "The sessionize stage (whole records, state topic, exactly once) against Flink's SQL "
        "(first, last, count), and without its state topic: 600,000 events of 100,000 visitors, "
        "the sessions of each compared with a recount.",
        ("--events", 600_000),
    ),
    Part(
        "memory",
        "Memory of an open session",
        "By how much the tracker's process grows, over the number of its sessions. `fresh`: all "
        "had an event within the last minute, as in a burst; `at rest`: visitors came over an "
        "hour and the last ones have been quiet for a minute. Strings are the visitor's key (a "
        "UUID) and what the events say.",
        ("--sessions", 120_000),
        rounds=False,
    ),
    Part(
        "restart",
        "kill -9 with a million open sessions",
        "The sessionize stage is killed and started again while events go on arriving.",
        ("--sessions", 1_000_000),
        rounds=False,
    ),
    Part(
        "bulk",
        "Into Elasticsearch",
        "The index stage's bulk writer against the Elasticsearch client's own parallel_bulk, the "
        "same documents.",
        ("--documents", 100_000),
    ),
    Part(
        "latency",
        "From produced to found",
        "How long until a search finds an event, with a refresh interval of 1 s. Full load is what "
        "the pipeline works off of a backlog; generator, broker, Elasticsearch and stages share "
        "the machine's cores.",
        ("--backlog", 200_000),
        rounds=False,
    ),
    Part(
        "sources",
        "Simulator and replay",
        "Events per second that one process makes.",
        ("--events", 300_000),
    ),
)
MARK = "<!-- {} -->"


def machine() -> str:
    """What this was measured on."""
    cpu = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = psutil.virtual_memory().total / 2**30
    names = ("bytewax", "confluent-kafka", "msgspec", "elasticsearch")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} "
        f"{platform.release().partition('-')[0]}, Python {platform.python_version()}, "
        f"JDK {find_jdk().full_version}; {versions}"
    )


def peers() -> str:
    """The other engines and their versions, as their environments pin them."""
    wanted = "\n".join(file.read_text() for file in (HERE / "requirements").glob("*.in"))
    pins = re.findall(r"^(\S+)==(\S+)$", wanted, re.MULTILINE)
    return ", ".join(f"{name} {number}" for name, number in sorted(pins))


def run(part: Part) -> str:
    """Run a part; its section of the document."""
    print(f"== {part.title}", flush=True)
    load = os.getloadavg()[0]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        subprocess.run(part.command(report), check=True)
        table = json.loads(report.read_text())["table"]
    took = time.monotonic() - began
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return (
        f"{part.about}\n\n{table}\n\nMeasured on {day} in {took:.0f} s, with a load of "
        f"{load:.1f} before: {machine()}.\n"
    )


def put(document: str, name: str, section: str) -> str:
    """Put a section between its marks."""
    begin, end = MARK.format(name), MARK.format(f"end of {name}")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(document):
        sys.exit(f"{DOCUMENT.name} has no place for {name}: add {begin} and {end}")
    return pattern.sub(lambda _: f"{begin}\n{section}{end}", document)


def main() -> None:
    """Run the parts, one after the other; each is written as soon as it is there."""
    known = {part.script for part in PARTS}
    if unknown := set(ONLY) - known:
        sys.exit(f"ONLY: no part is called {', '.join(unknown)}; there are {', '.join(known)}")
    failed = []
    for part in PARTS:
        if ONLY and part.script not in ONLY:
            continue
        try:
            section = run(part)
        except subprocess.CalledProcessError:
            failed.append(part.script)
            continue
        DOCUMENT.write_text(put(DOCUMENT.read_text(), part.script, section))
    DOCUMENT.write_text(put(DOCUMENT.read_text(), "peers", f"{peers()}\n"))
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
