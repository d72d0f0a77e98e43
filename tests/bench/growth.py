"""How the enrich stage's costs grow with events, partitions, workers and poison.

Usage: ``python tests/bench/growth.py [--events N] [--rounds N] [--report FILE]``. The measurement
is that of ``enrich.py``, with this project's stage alone. How sessions grow with visitors is in
``sessions.py``, with open sessions in ``restart.py``.
"""

from dataclasses import replace

from enrich import PEERS, measure, table
from measure import arguments, publish

[OURS] = [peer for peer in PEERS if peer.name == "webevents, exactly once"]
CASES = (
    replace(OURS, name="a third of the events", share=1 / 3),
    OURS,
    replace(OURS, name="three times the events", share=3.0),
    replace(OURS, name="1 partition", partitions=1),
    replace(OURS, name="16 partitions", partitions=16),
    replace(OURS, name="64 partitions", partitions=64),
    replace(OURS, name="1% poison", poison_every=100),
    replace(OURS, name="2 workers", settings=(("WORKERS", "2"),)),
)


def main() -> None:
    """Measure and print."""
    asked = arguments(__doc__, events=300_000, rounds=3).parse_args()
    found = measure(CASES, asked.events, asked.rounds)
    publish(table(found), found, asked.report)


if __name__ == "__main__":
    main()
