"""The offline checker: it finds what somebody broke, and puts right what is safe to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from pursuit.errors import NotFound
from pursuit.models import JobRef
from pursuit.state import Status
from pursuit.store import Follow, Store
from tests.store.conftest import Driver

Break = Callable[[Store, str, str], Awaitable[object]]


def due_lost(store: Store, goal: str, base: str) -> Awaitable[object]:
    return store.redis.zrem(store.keys.due(goal), f"{goal} r1-001")


def due_too_many(store: Store, goal: str, base: str) -> Awaitable[object]:
    return store.redis.zadd(store.keys.due(goal), {f"{goal} r1-plan": 5})


def join_too_low(store: Store, goal: str, base: str) -> Awaitable[object]:
    return store.redis.hset(base, "join:1", "1")


def leased_too_high(store: Store, goal: str, base: str) -> Awaitable[object]:
    return store.redis.hset(base, "leased", "9")


def not_listed(store: Store, goal: str, base: str) -> Awaitable[object]:
    return store.redis.zrem(store.keys.listing(int(base.partition("{s")[2][:2]), "running"), goal)


def listed_twice(store: Store, goal: str, base: str) -> Awaitable[object]:
    return store.redis.zadd(store.keys.listing(int(base.partition("{s")[2][:2]), "paused"), {goal: 1})


def open_forgotten(store: Store, goal: str, base: str) -> Awaitable[object]:
    return store.redis.srem(base + ":open", "r1-002")


@pytest.mark.parametrize(
    ("breaks", "invariant"),
    [
        (due_lost, "I6"),
        (due_too_many, "I6"),
        (join_too_low, "I4"),
        (leased_too_high, "I11"),
        (not_listed, "lists"),
        (listed_twice, "lists"),
        (open_forgotten, "I6"),
    ],
)
async def test_what_is_broken_is_found_and_put_right(
    store: Store, driver: Driver, breaks: Break, invariant: str
) -> None:
    goal = await driver.submit()
    refs = await driver.plan(goal)
    assert await store.audit(goal) == []
    await breaks(store, goal, store.keys.goal(goal))
    seen = await store.audit(goal)
    assert {problem.invariant for problem in seen} >= {invariant} and not any(p.repaired for p in seen)
    repaired = await store.audit(goal, repair=True)
    assert repaired[0].text == seen[0].text and all(p.repaired for p in repaired)
    assert await store.audit(goal) == []
    assert (await store.events(goal))[-1].type == "goal.repaired"
    for ref in refs:
        await driver.do(ref)
    await driver.complete(goal, 1)
    assert await store.audit(goal) == []


async def test_a_goal_in_which_nothing_would_happen_any_more_is_set_going(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    await driver.plan(goal)
    base = store.keys.goal(goal)
    await store.redis.delete(base + ":open", base + ":jobs:1")
    await store.redis.zremrangebyrank(store.keys.due(goal), 0, -1)
    assert "I5" in {p.invariant for p in await store.audit(goal, repair=True)}
    assert await driver.due() == [JobRef.of(goal, 2, "plan")]


async def test_a_round_whose_results_were_lost_is_noticed(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    for ref in await driver.plan(goal):
        await driver.do(ref)
    await store.redis.hdel(store.keys.results(goal, 1), "r1-002")
    assert [(p.invariant, p.text) for p in await store.audit(goal)] == [("I10", "r1-002 is done and has no result")]


async def test_a_log_with_a_gap_or_a_fork_is_noticed(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    await driver.plan(goal)
    await store.pause(goal)
    events = await store.events(goal)
    await store.redis.xdel(store.keys.events(goal), events[1].id)
    assert "I9" in {p.invariant for p in await store.audit(goal)}


async def test_a_final_goal_is_only_looked_at(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    await driver.plan(goal)
    await store.cancel(goal)
    seq = (await store.goal(goal)).seq
    await store.redis.sadd(store.keys.goal(goal) + ":open", "r1-001")
    assert "I7" in {p.invariant for p in await store.audit(goal, repair=True)}
    assert await store.audit(goal) == []
    shown = await store.goal(goal)
    assert (shown.status, shown.seq) == (Status.CANCELLED, seq), "nothing is recorded after the end"


async def test_nothing_is_found_where_there_is_nothing(store: Store, driver: Driver) -> None:
    with pytest.raises(NotFound):
        await store.audit("goal_nope")
    goal = await driver.submit()
    for ref in await driver.plan(goal):
        await driver.do(ref)
    await driver.verify(goal, 1, Follow(status="blocked", reason="budget", detail="spent"))
    assert await store.audit(goal, repair=True) == []
