"""A simulator of web visitors with ground truth; see docs/simulator.md."""

from webevents.sources.simulator.engine import DEFAULT_KEYS, Simulated, Simulator
from webevents.sources.simulator.run import SimulationResult, run_simulator
from webevents.sources.simulator.truth import Truth, TruthWriter, read_truth

__all__ = [
    "DEFAULT_KEYS",
    "Simulated",
    "SimulationResult",
    "Simulator",
    "Truth",
    "TruthWriter",
    "read_truth",
    "run_simulator",
]
