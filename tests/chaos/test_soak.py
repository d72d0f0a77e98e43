"""Random faults for half an hour: memory stays flat, and in the end everything is accounted for.

``make soak MINUTES=30``. Faults come from a seed (SEED, printed), one every 20 to 60 s: a worker
is killed or frozen for longer than its group waits, a server is restarted, killed or frozen.
"""

import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from chaos_load import SPEC, caught_up, freeze, megabytes, under_load
from pipelines import Run, Servers

from webevents.local.elasticsearch_server import EmbeddedElasticsearch
from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.server import LocalServer

MINUTES = float(os.environ.get("MINUTES", "30"))
SEED = int(os.environ.get("SEED", str(int(time.time()))))
STAGES = ("enrich", "sessionize", "index")

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(MINUTES * 60 + 1800)]


def test_random_faults(
    kafka: EmbeddedKafka,
    elasticsearch: EmbeddedElasticsearch,
    tmp_path: Path,
    seen: Callable[[str], None],
) -> None:
    # Sessions that end soon, so that as many are open in the last third as in the first.
    brief = {"gap": "2m", "allowedLateness": "2m"}
    spec = SPEC | {"sessions": SPEC["sessions"] | brief}
    chance, done = random.Random(SEED), Counter[str]()
    memory: list[tuple[float, float]] = []
    print(f"\n  SEED={SEED}", flush=True)
    servers = Servers(kafka.bootstrap, elasticsearch.url)
    with under_load(servers, tmp_path, seen, spec, drain_s=600) as load:
        began = time.monotonic()
        while (at := time.monotonic() - began) < MINUTES * 60:
            fault = strike(chance, load.run, kafka, elasticsearch)
            done[fault] += 1
            caught_up(load.pipeline)
            memory.append((at, megabytes(load.run)))
            print(f"  {at:5.0f} s  {fault:28} {memory[-1][1]:.0f} MB", flush=True)
            time.sleep(chance.uniform(20, 60))
        third = len(memory) // 3 or 1
        early = statistics.median(each for _, each in memory[:third])
        late = statistics.median(each for _, each in memory[-third:])
        faults = ", ".join(f"{count} {name}" for name, count in sorted(done.items()))
        grown = f"stages' memory {early:.0f} MB in the first third, {late:.0f} MB in the last"
        load.told = f"{MINUTES:.0f} min, seed {SEED}: {faults}; {grown}"
    assert late <= early * 1.15 + 20


def strike(
    chance: random.Random, run: Run, kafka: EmbeddedKafka, elasticsearch: EmbeddedElasticsearch
) -> str:
    """Do something bad; what it was."""
    server: LocalServer = chance.choice((kafka, elasticsearch))
    stage = chance.choice(STAGES)
    match chance.randrange(5):
        case 0:
            run.kill_worker(stage, 60)
            return f"{stage} killed"
        case 1:
            freeze(run.workers(stage)[0], 25)
            return f"{stage} frozen"
        case 2:
            assert server.pid
            freeze(server.pid, 15)
            return f"{server.name} frozen"
        case 3:
            server.kill()
            time.sleep(chance.uniform(1, 20))
            server.start()
            return f"{server.name} killed"
        case _:
            server.stop()
            server.start()
            return f"{server.name} restarted"
