"""The simulator over the first 100 seeds. To replay seed N alone: python -m tests.simulation --from N --seeds 1"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from tests.simulation.server import redis_for
from tests.simulation.world import simulate, trace

SEEDS = 100


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis_for(tmp_path_factory.mktemp("simulation")) as client:
        yield client
        client.close()


seen: dict[str, int] = {}


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_every_invariant_holds(redis: Redis, seed: int) -> None:
    for what, times in simulate(seed, redis).items():
        seen[what] = seen.get(what, 0) + times


def test_the_faults_have_happened() -> None:
    """A simulator that injects nothing would find nothing."""
    if sum(times for what, times in seen.items() if what == "submit NEW") < SEEDS:
        pytest.skip("not all seeds were run")
    faults = ("crash", "stall", "Redis away", "reply lost", "rollback", "message dropped")
    answers = (
        *("finish DUP", "finish LOST", "journal LOST", "journal HAVE", "beat LOST", "sweep BURIED"),
        *("start BUSY", "start DONE", "start HOLD", "start GONE", "park PARKED", "answer ANSWERED"),
        *("compact COMPACTED", "cancel CHANGED", "recover NOTED", "guide CHANGED", "amend CHANGED", "accept CHANGED"),
    )
    assert not [what for what in (*faults, *answers) if not seen.get(what)]


def test_a_seed_replays_exactly(redis: Redis) -> None:
    assert trace(11, redis) == trace(11, redis)
