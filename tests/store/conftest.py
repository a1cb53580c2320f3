"""One contract of the store, run on fakeredis and on every real server at hand, under a clock we set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

from pursuit.models import Brief, JobRef, Submission
from pursuit.store import Attempt, Follow, Store, Timing
from tests.servers import binaries, server

TIMING = Timing(lease=30, redispatch=15, redispatch_most=600, chord_grace=5, attempts=3)


class Clock:
    """Time as the scripts see it, in ms; only a test moves it."""

    def __init__(self) -> None:
        self.now = 1_764_000_000_000

    def __call__(self) -> int:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


@pytest.fixture(scope="session", params=["fakeredis", *binaries()])
def redis_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "fakeredis":
        yield "fakeredis"
        return
    folder: Path = tmp_path_factory.mktemp(request.param)
    with server(binaries()[request.param], folder) as url:
        yield url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(redis_url: str, clock: Clock) -> AsyncIterator[Store]:
    redis: Any
    if redis_url == "fakeredis":
        redis = FakeAsyncRedis(decode_responses=True)
    else:
        redis = Redis.from_url(redis_url, decode_responses=True)
        await redis.flushall()
    store = await Store.open(redis, timing=TIMING, clock=clock)
    yield store
    await store.close()


class Driver:
    """Plays planner, sub-agents and verifier on the bare store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def submit(self, objective: str = "Compare three backup tools", **over: Any) -> str:
        goal, _ = await self.store.submit(Submission(objective=objective, **over))
        return goal

    async def take(self, ref: JobRef, nonce: str | None = None) -> Attempt:
        attempt = await self.store.start(ref, nonce)
        assert isinstance(attempt, Attempt), f"{ref.job}: {attempt}"
        return attempt

    async def plan(self, goal: str, width: int = 3, number: int = 1) -> list[JobRef]:
        attempt = await self.take(JobRef.of(goal, number, "plan"))
        refs = [JobRef.of(goal, number, f"{n:03d}") for n in range(1, width + 1)]
        jobs = [(ref, Brief(title=ref.name, objective=f"look at {ref.name}")) for ref in refs]
        plan = '{"approach": "one each", "titles": []}'
        finished = await self.store.finish(attempt, "done", plan, Follow(jobs=jobs))  # type: ignore[arg-type]
        assert finished.verdict == "FIRST"
        return refs

    async def do(self, ref: JobRef, answer: str = "fine") -> Attempt:
        attempt = await self.take(ref)
        digest = f'{{"outcome": "done", "answer": "{answer}"}}'
        await self.store.finish(attempt, "done", digest)  # type: ignore[arg-type]
        return attempt

    async def verify(self, goal: str, number: int, follow: Follow) -> Attempt:
        attempt = await self.take(JobRef.of(goal, number, "verify"))
        outcome = '{"verdict": {"revision": 1, "findings": []}, "decision": {"kind": "test"}}'
        await self.store.finish(attempt, "done", outcome, follow)  # type: ignore[arg-type]
        return attempt

    async def next_round(self, goal: str, number: int) -> Attempt:
        following = Follow(jobs=[(JobRef.of(goal, number + 1, "plan"), None)], round=number + 1)
        return await self.verify(goal, number, following)

    async def complete(self, goal: str, number: int) -> Attempt:
        return await self.verify(goal, number, Follow(status="completed", reason="met"))

    async def due(self) -> list[JobRef]:
        """All jobs that are due now, by the test's clock."""
        now = self.store._scripts._clock()  # type: ignore[misc]
        return [ref for shard in range(4) for ref in await self.store.due(shard, now=now)]

    async def audit(self, goal: str) -> None:
        """The invariants that can be read from the keys: I4, I6, I9."""
        shown = await self.store.goal(goal)
        redis, base = self.store.redis, self.store.keys.goal(goal)
        open_jobs = set(await redis.smembers(base + ":open"))
        due = {m.split(" ")[1] for m in await redis.zrange(self.store.keys.due(goal), 0, -1) if m.startswith(goal)}
        assert due == open_jobs
        join = int(await redis.hget(base, f"join:{shown.round}") or 0)
        assert join == sum(JobRef(goal=goal, job=job).kind == "subtask" for job in open_jobs)
        events = await self.store.events(goal, limit=10_000)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))


@pytest.fixture
def driver(store: Store) -> Driver:
    return Driver(store)
