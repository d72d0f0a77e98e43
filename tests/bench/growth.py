"""How the enrich stage's costs grow with events, partitions and workers.

Usage: ``python tests/bench/growth.py [--events N] [--rounds N] [--report FILE]``. The measurement
is that of ``enrich.py``, with this project's stage alone. How sessions grow with visitors is in
``sessions.py``, with open sessions in ``restart.py``.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from enrich import PEERS, measure, table

[OURS] = [peer for peer in PEERS if peer.name == "webevents, exactly once"]
CASES = (
    replace(OURS, name="a third of the events", share=1 / 3),
    OURS,
    replace(OURS, name="three times the events", share=3.0),
    replace(OURS, name="1 partition", partitions=1),
    replace(OURS, name="16 partitions", partitions=16),
    replace(OURS, name="64 partitions", partitions=64),
    replace(OURS, name="2 workers", settings=(("WORKERS", "2"),)),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--report", type=Path)
    asked = parser.parse_args()
    found = measure(CASES, asked.events, asked.rounds)
    print(table(found))
    if asked.report:
        asked.report.write_text(json.dumps({"table": table(found), "figures": found}, indent=1))


if __name__ == "__main__":
    main()
