"""Fuzzing: ``make fuzz`` puts a million malformed inputs to everything that takes bytes from
outside, ``COUNT=`` others, ``TARGET=`` one target alone, ``FIRST=`` other inputs than last time.

Each must be taken, or failed with a reason, within seconds. What is neither is kept as a file of
tests/data/fuzz/TARGET, and `make test` tries it again from then on.
"""

import argparse
import faulthandler
import hashlib
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from fuzz_inputs import make_input  # noqa: E402
from fuzz_targets import TAKEN, TARGETS, remove_file  # noqa: E402

KEPT = ROOT / "tests" / "data" / "fuzz"
HANG_S = 120
"""An input that takes so long ends the run with a traceback."""
SLOW_S = 5.0
"""CPU seconds; an input that takes more is a fault."""


def keep(name: str, raw: bytes) -> Path:
    """Keep an input for the tests."""
    path = KEPT / name / f"fault-{hashlib.sha256(raw).hexdigest()[:12]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


def fuzz(name: str, wanted: int, first: int) -> tuple[str, Counter[str], float, int, int]:
    """Make inputs for one target until so many were malformed.

    :returns: target, inputs by word, the slowest one's CPU seconds, faults, the next number.
    """
    target = TARGETS[name]
    words: Counter[str] = Counter()
    slowest, faults, number, malformed = 0.0, 0, first, 0
    places: set[str] = set()
    while malformed < wanted:
        if number % 50 == 0:
            faulthandler.dump_traceback_later(HANG_S, exit=True)
        raw = make_input(name, number, target.seeds, target.encode)
        number += 1
        began = time.thread_time()
        try:
            word = target.run(raw)
        except Exception:
            word = "FAULT"
            faults += 1
            told = traceback.format_exc()
            place = told.rpartition("  File ")[2]
            if place not in places:  # one of a kind
                places.add(place)
                sys.stderr.write(f"{name} {number - 1}: {keep(name, raw)}\n{told}\n")
        taken = time.thread_time() - began
        slowest = max(slowest, taken)
        if taken > SLOW_S:
            faults += 1
            sys.stderr.write(f"{name} {number - 1}: {taken:.1f} s: {keep(name, raw)}\n")
        words[word] += 1
        malformed += word != TAKEN
    faulthandler.cancel_dump_traceback_later()
    remove_file()
    return name, words, slowest, faults, number


def main() -> int:
    """Fuzz, and print what became of the inputs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS, default=None)
    options = parser.parse_args()
    # In pieces, so that all cores have something to do until the end.
    jobs = []
    for name in [options.target] if options.target else TARGETS:
        wanted = options.count if options.target else round(options.count * TARGETS[name].share)
        pieces = max(1, min(os.cpu_count() or 1, wanted // 1000))
        jobs += [(name, wanted // pieces, options.first + piece * 10**9) for piece in range(pieces)]
    began = time.monotonic()
    total: dict[str, Counter[str]] = {name: Counter() for name, *_ in jobs}
    slow: dict[str, float] = dict.fromkeys(total, 0.0)
    faults = 0
    with multiprocessing.Pool() as pool:
        results = [pool.apply_async(fuzz, job) for job in jobs]
        for result in results:
            name, words, slowest, wrong, _ = result.get()
            total[name] += words
            slow[name] = max(slow[name], slowest)
            faults += wrong
    print(f"{'target':<10} {'malformed':>10} {'taken':>9} {'slowest':>8}  reasons")
    for name, words in total.items():
        taken = words.pop(TAKEN, 0)
        reasons = ", ".join(f"{word} {count:,}" for word, count in words.most_common())
        line = f"{name:<10} {words.total():>10,} {taken:>9,} {slow[name]:>6.2f} s  {reasons}"
        print(line)
    malformed = sum(words.total() for words in total.values())
    seconds = time.monotonic() - began
    print(f"{malformed:,} malformed inputs in {seconds:,.0f} s: {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
