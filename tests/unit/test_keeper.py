"""A worker stops its own attempts: when it can't beat, when another has the job, when the goal is over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from pursuit.errors import StoreUnavailable
from pursuit.models import JobRef
from pursuit.store import Attempt, Beat, Fence, Timing
from pursuit.store.replies import Wishes
from worker import keeper as module
from worker.keeper import Keeper


class Lines:
    """The store as the keeper sees it."""

    def __init__(self) -> None:
        self.beats: list[Fence | Exception] = []
        self.over: set[str] = set()

    async def beat(self, attempts: Sequence[Attempt]) -> list[Beat | None]:
        said = self.beats.pop(0) if self.beats else Fence.KEPT
        if isinstance(said, Exception):
            raise said
        return [Beat(fence=said) for _ in attempts]

    async def wishes(self, goals: Iterable[str]) -> dict[str, Wishes]:
        return {goal: Wishes(over=goal in self.over, wish="run") for goal in goals}


class Now:
    def __init__(self) -> None:
        self.time = 100.0

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    now = Now()
    monkeypatch.setattr(module, "time", now)
    return now


@pytest.fixture
def lines() -> Any:
    return Lines()


@pytest.fixture
def keeper(now: Now) -> Keeper:
    return Keeper(Timing(lease=30))


def begin(keeper: Keeper) -> asyncio.Task[None]:
    attempt = Attempt(ref=JobRef(goal="goal_1", job="r1-001"), nonce="n", number=1, journal_length=0, brief="")

    async def work() -> None:
        async with keeper.keep(attempt):
            await asyncio.sleep(3600)

    return asyncio.get_running_loop().create_task(work())


async def cut(task: asyncio.Task[None]) -> bool:
    done, _ = await asyncio.wait([task], timeout=0.02)
    over = bool(done)
    task.cancel()
    return over


async def test_who_cannot_beat_stops_at_the_end_of_the_lease_and_not_before(
    keeper: Keeper, lines: Any, now: Now
) -> None:
    task = begin(keeper)
    await asyncio.sleep(0)
    for _ in range(2):
        now.time += 14.5
        lines.beats = [StoreUnavailable("Redis is away")]
        await keeper.beat(lines)
    await asyncio.sleep(0.01)
    assert not task.done() and len(keeper) == 1
    now.time += 1
    keeper.fence()
    assert await cut(task)
    assert len(keeper) == 0


async def test_a_beat_in_time_keeps_it_going(keeper: Keeper, lines: Any, now: Now) -> None:
    task = begin(keeper)
    await asyncio.sleep(0)
    for _ in range(4):
        now.time += 29
        await keeper.beat(lines)
    assert not await cut(task)


@pytest.mark.parametrize("said", [Fence.LOST, Fence.GONE])
async def test_who_is_told_that_the_job_is_lost_stops_at_once(keeper: Keeper, lines: Any, said: Fence) -> None:
    task = begin(keeper)
    await asyncio.sleep(0)
    lines.beats = [said]
    await keeper.beat(lines)
    assert await cut(task)


async def test_the_attempts_of_a_cancelled_goal_are_cut_without_waiting_for_a_beat(keeper: Keeper, lines: Any) -> None:
    task = begin(keeper)
    await asyncio.sleep(0)
    await keeper.watch(lines)
    await asyncio.sleep(0.01)
    assert not task.done()
    lines.over = {"goal_1"}
    await keeper.watch(lines)
    assert await cut(task)
