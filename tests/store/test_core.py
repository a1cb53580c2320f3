"""What makes the core safe to repeat, to upgrade, and to outgrow its memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pursuit.errors import AlreadyAnswered, IdempotencyMismatch, IllegalTransition, NotFound, StoreFull
from pursuit.models import AddBudget, Entry, JobRef, Question
from pursuit.state import JobState, Reason, Status
from pursuit.store import Attempt, Fence, Follow, Spent, Start, Store, compact_rounds
from pursuit.store import store as module
from tests.store.conftest import Clock, Driver


async def test_a_command_repeated_under_its_key_is_carried_out_once(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    for ref in await driver.plan(goal):
        await driver.do(ref)
    await driver.verify(goal, 1, Follow(status="blocked", reason="budget", detail="all rounds are used"))
    before = (await store.goal(goal)).budget.rounds
    more = AddBudget(rounds=5)
    first = await store.resume(goal, add=more, key="once")
    assert await store.resume(goal, add=more, key="once") == first
    assert (await store.goal(goal)).budget.rounds == before + 5
    await store.pause(goal, key="hold")
    await store.resume(goal, key="go")
    assert (await store.pause(goal, key="hold")).changed, "the first answer again"
    assert (await store.goal(goal)).wish == "run", "a late copy of a pause doesn't undo the resume"
    with pytest.raises(IdempotencyMismatch):
        await store.cancel(goal, key="once")
    await store.cancel(goal, key="end")
    assert (await store.cancel(goal, key="end")).changed
    await driver.audit(goal)


async def test_guidance_is_kept_in_order_and_told_with_each_step(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    first, *_ = await driver.plan(goal)
    attempt = await driver.take(first)
    assert (await store.journal(attempt, 0, [Entry(kind="answer", body={})], call=Spent())).guided == 0
    await store.guide(goal, "Prefer primary sources", key="g1")
    await store.guide(goal, "Prefer primary sources", key="g1")
    await store.guide(goal, "Stop at ten", subtask=first.job)
    assert (await store.journal(attempt, 1, [Entry(kind="answer", body={})], call=Spent())).guided == 2
    kept = await store.guidance(goal)
    assert [(g.text, g.subtask) for g in kept] == [("Prefer primary sources", ""), ("Stop at ten", first.job)]
    with pytest.raises(NotFound):
        await store.guide(goal, "Nobody there", subtask="r1-999")
    await store.cancel(goal)
    with pytest.raises(IllegalTransition):
        await store.guide(goal, "Too late")


async def test_who_has_lost_a_job_can_neither_hand_it_back_nor_ask_nor_block(
    store: Store, driver: Driver, clock: Clock
) -> None:
    goal = await driver.submit()
    ref = (await driver.plan(goal))[0]
    zombie = await driver.take(ref)
    clock.forward(31)
    await store.sweep(await driver.due())
    owner = await driver.take(ref)
    question = Question(id="q1", goal=goal, job=ref.job, text="Which year?", asked_at=datetime.now(UTC))
    assert await store.release(zombie) == await store.retry(zombie, 1) == await store.ask(zombie, question) == "LOST"
    assert await store.block(zombie, Reason.CONFIGURATION, "no key", restart=True) == "LOST"
    assert (await store.goal(goal)).status is Status.RUNNING and await store.inbox() == []
    assert (await store.beat([owner]))[0].fence is Fence.KEPT  # type: ignore[union-attr]
    await driver.audit(goal)


async def test_a_job_that_gets_on_is_not_buried_for_what_kills_its_worker(
    store: Store, driver: Driver, clock: Clock
) -> None:
    goal = await driver.submit()
    poison, neighbour, _ = await driver.plan(goal)
    for step in range(6):
        for ref in (poison, neighbour):
            started = await store.start(ref)
            if isinstance(started, Attempt) and ref is neighbour:
                await store.journal(started, step, [Entry(kind="answer", body={})], call=Spent())
        clock.forward(31)
        await store.sweep(await driver.due())
    jobs = await store.jobs(goal, 1)
    assert (jobs[poison.job].state, jobs[neighbour.job].state) == (JobState.BURIED, JobState.QUEUED)
    await driver.audit(goal)


async def test_a_job_that_waits_for_its_provider_is_not_buried_for_what_kills_its_worker(
    store: Store, driver: Driver, clock: Clock
) -> None:
    goal = await driver.submit()
    let_in, waits, _ = await driver.plan(goal)
    for _ in range(6):
        for ref in (let_in, waits):
            started = await store.start(ref)
            if isinstance(started, Attempt):
                await store.limited(started, 5, "window")
                if ref is let_in:
                    await store.limited(started, 0, "")
        clock.forward(31)
        await store.sweep(await driver.due())
    jobs = await store.jobs(goal, 1)
    assert (jobs[let_in.job].state, jobs[waits.job].state) == (JobState.BURIED, JobState.QUEUED)
    await driver.audit(goal)


async def test_those_that_died_together_twice_come_back_one_after_the_other(
    store: Store, driver: Driver, clock: Clock
) -> None:
    goal = await driver.submit()
    refs = await driver.plan(goal, 8)
    for again in (False, True):
        for ref in refs:
            await driver.take(ref)
        clock.forward(30.001)
        assert len((await store.sweep(await driver.due())).publish) == (0 if again else 8)
    came: list[int] = []
    for _ in range(160):
        clock.forward(0.1)
        came += [len((await store.sweep(await driver.due())).publish)]
    assert sum(came) == 8 and max(came) == 1, "at most one in a tenth of a second, all within the redispatch time"
    await driver.audit(goal)


async def test_fewer_attempts_than_a_job_has_had_already_leave_no_job_behind(
    store: Store, driver: Driver, clock: Clock
) -> None:
    goal = await driver.submit()
    ref = (await driver.plan(goal))[0]
    for _ in range(2):
        await driver.take(ref)
        clock.forward(31)
        await store.sweep(await driver.due())
    store.timing = replace(store.timing, attempts=1)
    await driver.do(ref)
    assert (await store.jobs(goal, 1))[ref.job].state is JobState.DONE
    await driver.audit(goal)


async def test_retries_end_when_they_bring_nothing(store: Store, driver: Driver, clock: Clock) -> None:
    goal = await driver.submit()
    ref = (await driver.plan(goal))[0]
    said = []
    for number in range(1, 6):
        attempt = await driver.take(ref)
        if number == 2:
            await store.journal(attempt, 0, [Entry(kind="answer", body={})], call=Spent())
        said.append(await store.retry(attempt, 1))
        assert await store.retry(attempt, 1) == said[-1], "the same again gets the same answer"
        if said[-1] == "LAST":
            break
        clock.forward(2)
    assert said == ["PARKED", "PARKED", "PARKED", "LAST"]
    assert (await store.finish(attempt, JobState.FAILED, "{}")).verdict == "FIRST"
    await driver.audit(goal)


async def test_an_attempt_whose_journal_went_back_in_time_is_told(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    attempt = await driver.take(JobRef.of(goal, 1, "plan"))
    assert (await store.journal(attempt, 3, [Entry(kind="answer", body={})], call=Spent())).fence is Fence.GAP
    assert (await store.goal(goal)).usage.steps == 0


async def test_another_server_process_is_noted_once_in_every_goal_that_goes_on(store: Store, driver: Driver) -> None:
    goal, over = await driver.submit(), await driver.submit()
    await store.cancel(over)
    assert await store.recover(goal, "run-2") and not await store.recover(goal, "run-2")
    assert not await store.recover(over, "run-2")
    assert (await store.goal(goal)).generation == 1
    assert [e.type for e in await store.events(goal)] == ["goal.submitted", "gap"]
    assert await store.recover(goal, "run-3")
    assert (await store.goal(goal)).generation == 2


async def rounds(driver: Driver, goal: str, count: int) -> None:
    for number in range(1, count + 1):
        for ref in await driver.plan(goal, 2, number):
            await driver.do(ref, answer=f"round {number}")
        await driver.next_round(goal, number)


def shelf() -> tuple[dict[str, str], Callable[[str], str]]:
    blobs: dict[str, str] = {}

    def put(text: str) -> str:
        blobs[f"b{len(text)}-{len(blobs)}"] = text
        return list(blobs)[-1]

    return blobs, put


async def test_old_rounds_leave_redis_and_read_as_before(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    await rounds(driver, goal, 6)
    before = {n: (await store.round(goal, n), await store.jobs(goal, n), await store.digests(goal, n)) for n in (1, 3)}
    brief = (await store.briefs(goal, 1))["r1-001"]
    blobs, put = shelf()
    store._archive = blobs.__getitem__
    assert await compact_rounds(store, await store.goal(goal), put) == 3
    base = store.keys.goal(goal)
    left = {key.removeprefix(base) for key in await store.redis.keys(base + ":*:[0-9]*")}
    assert left == {f":{part}:{n}" for part in ("jobs", "results") for n in (4, 5, 6)} | {
        f":briefs:{n}" for n in (4, 5, 6)
    } | {":jobs:7"}
    assert not [field for field in await store.redis.hkeys(base) if field.endswith((":1", ":2", ":3"))]
    for n, shown in before.items():
        assert (await store.round(goal, n), await store.jobs(goal, n), await store.digests(goal, n)) == shown
    assert (await store.briefs(goal, 1))["r1-001"] == brief
    assert (await store.job(JobRef.of(goal, 2, "001"))).state is JobState.DONE
    assert await store.start(JobRef.of(goal, 1, "001")) is Start.DONE, "a message from an old round changes nothing"
    assert await compact_rounds(store, await store.goal(goal), put) == 0
    await driver.audit(goal)
    blobs.clear()
    with pytest.raises(NotFound):
        await store.jobs(goal, 1)


async def test_compaction_may_be_cut_between_the_blob_and_the_script(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    await rounds(driver, goal, 5)
    blobs, put = shelf()
    store._archive = blobs.__getitem__

    def dies(text: str) -> str:
        put(text)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        await compact_rounds(store, await store.goal(goal), dies)
    assert len(await store.digests(goal, 1)) == 2
    assert await compact_rounds(store, await store.goal(goal), put) == 2
    assert len(await store.digests(goal, 1)) == 2


async def test_a_round_that_is_young_or_not_the_oldest_is_not_compacted(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    await rounds(driver, goal, 5)
    _, put = shelf()
    summary = module.RoundSummary(record=await store.round(goal, 2), blob=put("{}"))
    assert not await store.compact(goal, 2, summary), "round 1 comes first"
    assert not await store.compact(goal, 3, summary)
    assert len(await store.jobs(goal, 2)) == 4


async def test_what_is_left_after_the_end_expires(store: Store, driver: Driver, clock: Clock) -> None:
    goal = await driver.submit()
    poisoned, *others = await driver.plan(goal)
    for ref in others:
        await driver.do(ref)
    await store.journal(await driver.take(poisoned), 0, [Entry(kind="answer", body={})], call=Spent())
    clock.forward(31)
    for _ in range(2):
        await driver.take(poisoned)
        clock.forward(31)
        await store.sweep(await driver.due())
    await store.guide(goal, "Hurry", key="g")
    await store.pause(goal, mode="after_round", key="p")
    await store.resume(goal, key="r")
    await driver.next_round(goal, 1)
    second = (await driver.plan(goal, number=2))[0]
    attempt = await driver.take(second)
    await store.journal(attempt, 0, [Entry(kind="answer", body={})], call=Spent())
    await store.cancel(goal, key="c")
    kept = [key for key in await store.redis.keys("*") if await store.redis.ttl(key) < 0]
    assert kept == ["pursuit:config"]


@pytest.mark.parametrize(("version", "taken"), [(1, False), (2, True), (3, True), (4, False)])
async def test_a_worker_takes_this_version_and_the_one_before(
    store: Store, driver: Driver, clock: Clock, version: int, taken: bool
) -> None:
    goal = await driver.submit()
    await store.redis.hset(store.keys.goal(goal), "v", str(version))
    ref = JobRef.of(goal, 1, "plan")
    started = await store.start(ref)
    assert (started is not Start.HOLD) == taken
    assert (await store.goal(goal)).version == (3 if taken else version)
    if not taken:
        clock.forward(16)
        assert (await store.sweep([ref])).publish == (ref,), "its message goes out, for a worker that knows it"
        clock.forward(1)
        assert await driver.due() == []


async def test_no_goal_is_taken_when_memory_is_nearly_full(store: Store, driver: Driver, redis_url: str) -> None:
    if redis_url == "fakeredis":
        return  # it has no memory limit; the three real servers have
    goal = await driver.submit()
    refs = await driver.plan(goal)
    running = await driver.take(refs[0])
    used = int((await store.redis.info("memory"))["used_memory"])
    try:
        await store.redis.config_set("maxmemory", int(used / 0.85))
        with pytest.raises(StoreFull):
            await driver.submit()
        await driver.do(refs[1])
        await store.redis.config_set("maxmemory", int(used / 2))
        version = int(str((await store.redis.info("server"))["redis_version"]).partition(".")[0])
        if version >= 7:
            assert (await store.journal(running, 0, [Entry(kind="answer", body={})], call=Spent())).fence is Fence.KEPT
            assert (await store.finish(running, JobState.DONE, "{}")).verdict == "FIRST"
            with pytest.raises(StoreFull):
                await store.start(refs[2])
        else:
            with pytest.raises(StoreFull):
                await store.finish(running, JobState.DONE, "{}")
            await driver.audit(goal)
        await store.cancel(goal) if version >= 7 else None
    finally:
        await store.redis.config_set("maxmemory", 0)
    shown = await store.goal(goal)
    if shown.status is not Status.CANCELLED:
        assert (await store.finish(running, JobState.DONE, "{}")).verdict == "FIRST", "all or nothing: it is repeated"
    await driver.audit(goal)
    assert json.loads(await store.redis.hget(store.keys.results(goal, 1), running.ref.job)) == {}


async def test_a_job_handed_back_is_due_at_once(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    ref = (await driver.plan(goal))[0]
    assert await store.release(await driver.take(ref)) == "PARKED"
    assert await driver.due() == [ref]
    assert (await driver.take(ref)).number == 1, "a handed back attempt doesn't count"


async def test_the_first_answer_stands(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    ref = (await driver.plan(goal))[0]
    question = Question(id="q1", goal=goal, job=ref.job, text="Which year?", asked_at=datetime.now(UTC))
    await store.ask(await driver.take(ref), question)
    assert await store.answer(goal, "q1", "2025") == await store.answer(goal, "q1", "2025") == ref
    with pytest.raises(AlreadyAnswered):
        await store.answer(goal, "q1", "1999")
    assert (await store.question(goal, "q1")).answer == "2025"
    with pytest.raises(NotFound):
        await store.answer(goal, "q2", "2025")
    await driver.audit(goal)
