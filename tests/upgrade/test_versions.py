"""What an earlier version has left in Redis is taken as it is and brought to its end.

`v2.json` was recorded with the code of version 2: a goal in its second round, with a sub-agent done, one in mid-work,
one that waits for an answer, and one that nobody has taken.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis

from pursuit.models import JobRef
from pursuit.state import JobState, Status
from pursuit.store import Store
from tests.store.conftest import TIMING, Clock, Driver

GOAL = "goal_01JDXVERSIONTWO0000000000"


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    clock = Clock()
    redis: Any = FakeAsyncRedis(decode_responses=True)
    kept = json.loads((Path(__file__).parent / "v2.json").read_text())
    clock.now = int(kept["pursuit:{s00}:goal:" + GOAL]["value"]["updated_at"]) + 1000
    for key, entry in kept.items():
        await put(redis, key, entry["type"], entry["value"])
    store = await Store.open(redis, timing=TIMING, clock=clock)
    yield store
    await store.close()


async def put(redis: Any, key: str, kind: str, value: Any) -> None:
    match kind:
        case "hash":
            await redis.hset(key, mapping=value)
        case "string":
            await redis.set(key, value)
        case "set":
            await redis.sadd(key, *value)
        case "list":
            await redis.rpush(key, *value)
        case "zset":
            await redis.zadd(key, dict(value))
        case "stream":
            for event, fields in value:
                await redis.xadd(key, fields, id=event)


async def test_a_goal_of_version_2_goes_on_and_becomes_version_3_with_its_next_plan(store: Store) -> None:
    driver = Driver(store)
    clock: Any = store._scripts._clock
    before = await store.goal(GOAL)
    assert (before.version, before.status, before.round) == (2, Status.RUNNING, 2)
    assert await store.audit(GOAL) == []
    await driver.do(JobRef.of(GOAL, 2, "004"))
    (question,) = await store.inbox()
    await driver.do(await store.answer(GOAL, question.id, "2025"))
    clock.forward(40)  # the worker of version 2 is gone
    left = JobRef.of(GOAL, 2, "002")
    assert (await store.sweep(await driver.due())).publish == (left,)
    resumed = await driver.take(left)
    assert resumed.journal_length == 1, "what it had paid for is kept"
    assert (await store.finish(resumed, JobState.DONE, '{"outcome": "done", "answer": "fine"}')).verify is not None
    assert (await store.goal(GOAL)).version == 2
    await driver.next_round(GOAL, 2)
    for ref in await driver.plan(GOAL, 2, number=3):
        await driver.do(ref)
    assert (await store.goal(GOAL)).version == 3
    await driver.complete(GOAL, 3)
    assert (await store.goal(GOAL)).status is Status.COMPLETED
    assert await store.audit(GOAL) == []
