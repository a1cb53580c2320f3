"""The life of a goal on the bare store, in its order."""

from __future__ import annotations

import pytest

from pursuit.errors import IdempotencyMismatch, IllegalTransition, NotFound
from pursuit.models import AddBudget, Entry, JobRef, Question, Submission
from pursuit.state import JobState, Reason, Status
from pursuit.store import Attempt, Fence, Follow, Spent, Start, Store
from pursuit.store.replies import when
from tests.store.conftest import Clock, Driver


async def test_submitting_saves_the_goal_and_opens_its_plan(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    shown = await store.goal(goal)
    assert (shown.status, shown.round, shown.reason) == (Status.QUEUED, 1, Reason.SUBMITTED)
    assert [job.id for job in (await store.jobs(goal, 1)).values()] == ["r1-plan"]
    assert [event.type for event in await store.events(goal)] == ["goal.submitted"]
    await driver.audit(goal)


async def test_the_same_key_twice_is_one_goal(store: Store) -> None:
    wish = Submission(objective="Find the cheapest route")
    first = await store.submit(wish, key="abc", request="h1")
    again = await store.submit(wish, key="abc", request="h1")
    assert (first[1], again) == (True, (first[0], False))
    with pytest.raises(IdempotencyMismatch):
        await store.submit(wish, key="abc", request="h2")
    assert await store.count(*Status) == 1


async def test_start_at_holds_the_plan_back(store: Store, driver: Driver, clock: Clock) -> None:
    goal = await driver.submit(start_at=when(clock.now + 3_600_000))
    clock.forward(3_000)
    assert await driver.due() == []
    clock.forward(601)
    assert await driver.due() == [JobRef.of(goal, 1, "plan")]


async def test_a_goal_paused_before_its_time_still_waits_for_it_when_resumed(
    store: Store, driver: Driver, clock: Clock
) -> None:
    goal = await driver.submit(start_at=when(clock.now + 3_600_000))
    await store.pause(goal)
    await store.resume(goal)
    assert (await store.goal(goal)).reason is Reason.START_AT
    clock.forward(3_500)
    assert await driver.due() == []
    clock.forward(101)
    assert await driver.due() == [JobRef.of(goal, 1, "plan")]


async def test_a_goal_goes_through_two_rounds_to_its_end(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    for ref in await driver.plan(goal):
        assert await store.start(JobRef.of(goal, 1, "verify")) is Start.BUSY
        await driver.do(ref)
    await driver.next_round(goal, 1)
    await driver.audit(goal)
    for ref in await driver.plan(goal, 2, number=2):
        await driver.do(ref)
    await driver.complete(goal, 2)
    shown = await store.goal(goal)
    assert (shown.status, shown.round, shown.usage.subagents) == (Status.COMPLETED, 2, 5)
    await driver.audit(goal)
    assert 0 < await store.redis.ttl(store.keys.goal(goal)) <= 30 * 86400


async def test_a_taken_job_is_busy_for_others_and_the_same_for_its_owner(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    ref = JobRef.of(goal, 1, "plan")
    first = await driver.take(ref, "mine")
    assert await store.start(ref, "other") is Start.BUSY
    assert await store.start(ref, "mine") == first


async def test_a_beat_keeps_the_lease(store: Store, driver: Driver, clock: Clock) -> None:
    goal = await driver.submit()
    attempt = await driver.take(JobRef.of(goal, 1, "plan"))
    for _ in range(5):
        clock.forward(20)
        assert (await store.beat([attempt]))[0].fence is Fence.KEPT  # type: ignore[union-attr]
    assert await driver.due() == []
    await driver.audit(goal)


async def test_a_dead_owners_job_is_published_again_and_the_zombie_fenced_off(
    store: Store, driver: Driver, clock: Clock
) -> None:
    goal = await driver.submit()
    ref = (await driver.plan(goal))[0]
    zombie = await driver.take(ref)
    await store.journal(zombie, 0, [Entry(kind="answer", body={"a": 1})], call=Spent())
    clock.forward(31)
    assert ref in (await store.sweep(await driver.due())).publish
    second = await driver.take(ref)
    assert (second.number, second.journal_length) == (2, 1)
    assert (await store.journal(zombie, 1, [Entry(kind="answer", body={"b": 1})])).fence is Fence.LOST
    assert (await store.beat([zombie]))[0].fence is Fence.LOST  # type: ignore[union-attr]
    assert (await store.finish(zombie, JobState.DONE, "{}")).verdict == "LOST"
    assert (await store.finish(second, JobState.DONE, "{}")).verdict == "FIRST"
    assert (await store.finish(second, JobState.DONE, "{}")).verdict == "DUP"
    await driver.audit(goal)


async def test_republishing_backs_off(store: Store, driver: Driver, clock: Clock) -> None:
    goal = await driver.submit()
    gaps, last = [], clock.now
    while len(gaps) < 8:
        clock.forward(1)
        if (await store.sweep(await driver.due())).publish:
            gaps.append((clock.now - last) // 1000)
            last = clock.now
    assert gaps == [15, 15, 30, 60, 120, 240, 480, 600]
    await driver.audit(goal)


async def test_a_poisoned_job_is_buried_and_still_counts_in_the_join(
    store: Store, driver: Driver, clock: Clock
) -> None:
    goal = await driver.submit()
    poisoned, *others = await driver.plan(goal, 2)
    for ref in others:
        await driver.do(ref)
    for _ in range(3):
        await driver.take(poisoned)
        clock.forward(31)
        swept = await store.sweep(await driver.due())
    assert swept.buried == (poisoned,)
    assert swept.publish == (JobRef.of(goal, 1, "verify"),)
    assert (await store.digests(goal, 1))[poisoned.job].outcome == "failed"
    await driver.audit(goal)
    await driver.complete(goal, 1)


async def test_a_plan_that_kills_its_workers_blocks_the_goal_until_a_person_resumes(
    store: Store, driver: Driver, clock: Clock
) -> None:
    goal = await driver.submit()
    for _ in range(3):
        await driver.take(JobRef.of(goal, 1, "plan"))
        clock.forward(31)
        await store.sweep(await driver.due())
    assert (await store.goal(goal)).status is Status.BLOCKED
    assert await store.start(JobRef.of(goal, 1, "plan")) is Start.HOLD
    await store.resume(goal)
    assert len(await driver.plan(goal)) == 3
    await driver.audit(goal)


async def test_usage_counts_each_call_once(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    ref = (await driver.plan(goal))[0]
    attempt = await driver.take(ref)
    entry = [Entry(kind="answer", body={"text": "hm"})]
    for _ in range(3):
        beat = await store.journal(attempt, 0, entry, call=Spent(tokens_in=100, tokens_out=7))
    assert beat.fence is Fence.HAVE
    usage = (await store.goal(goal)).usage
    assert (usage.steps, usage.tokens_in, usage.tokens_out) == (1, 100, 7)
    assert len(await store.journal_of(ref)) == 1


async def test_pausing_waits_for_running_subagents_and_resuming_brings_them_back(
    store: Store, driver: Driver, clock: Clock
) -> None:
    goal = await driver.submit()
    first, second, _ = await driver.plan(goal)
    running = await driver.take(first)
    assert (await store.pause(goal)).status == Status.RUNNING
    assert (await store.goal(goal)).pausing
    assert await store.start(second) is Start.HOLD
    assert (await store.journal(running, 0, [Entry(kind="answer", body={})], call=Spent())).wish == "pause"
    await store.release(running)
    assert (await store.goal(goal)).status is Status.PAUSED
    await driver.audit(goal)
    assert not (await store.pause(goal)).changed
    clock.forward(10_000)
    assert (await store.sweep(await driver.due())).publish == ()
    assert (await store.resume(goal)).changed
    assert set(await driver.due()) == {first, second, JobRef.of(goal, 1, "003")}
    again = await driver.take(first)
    assert (again.number, again.journal_length) == (1, 1)
    await driver.audit(goal)


async def test_pausing_after_the_round_holds_the_next_plan(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    refs = await driver.plan(goal)
    await store.pause(goal, mode="after_round")
    for ref in refs:
        await driver.do(ref)
    await driver.next_round(goal, 1)
    shown = await store.goal(goal)
    assert (shown.status, shown.round) == (Status.PAUSED, 2)
    assert await store.start(JobRef.of(goal, 2, "plan")) is Start.HOLD
    await store.resume(goal)
    await driver.plan(goal, number=2)
    await driver.audit(goal)


async def test_cancelling_needs_no_worker_and_nothing_is_recorded_afterwards(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    attempt = await driver.take((await driver.plan(goal))[0])
    assert (await store.cancel(goal, reason="too dear")).status == Status.CANCELLED
    seq = (await store.goal(goal)).seq
    assert (await store.journal(attempt, 0, [])).fence is Fence.GONE
    assert (await store.finish(attempt, JobState.DONE, "{}")).verdict == "GONE"
    assert await store.release(attempt) == "GONE"
    assert await store.start(attempt.ref) is Start.GONE
    assert (await store.goal(goal)).seq == seq
    assert not (await store.cancel(goal)).changed
    with pytest.raises(IllegalTransition) as caught:
        await store.resume(goal)
    assert caught.value.extra["current_status"] == "cancelled"
    await driver.audit(goal)


async def test_a_blocked_goal_is_taken_up_with_more_budget(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    for ref in await driver.plan(goal):
        await driver.do(ref)
    await driver.verify(goal, 1, Follow(status="blocked", reason="budget", detail="all 20 rounds are used"))
    assert (await store.goal(goal)).reason is Reason.BUDGET
    await store.resume(goal, add=AddBudget(rounds=5, tokens=1000))
    shown = await store.goal(goal)
    assert (shown.status, shown.round, shown.budget.rounds, shown.budget.tokens) == (
        Status.RUNNING,
        2,
        25,
        None,
    )
    await driver.plan(goal, number=2)
    await driver.audit(goal)


async def test_a_question_parks_its_subagent_and_blocks_only_when_nothing_else_can_go_on(
    store: Store, driver: Driver, clock: Clock
) -> None:
    goal = await driver.submit()
    asking, other = await driver.plan(goal, 2)
    attempt = await driver.take(asking)
    question = Question(
        id="q1",
        goal=goal,
        job=asking.job,
        text="Which year?",
        asked_at=when(clock.now),  # type: ignore[arg-type]
    )
    assert await store.ask(attempt, question) == "PARKED"
    assert (await store.goal(goal)).status is Status.RUNNING
    assert await store.start(asking) is Start.HOLD
    await driver.do(other)
    assert (await store.goal(goal)).reason is Reason.QUESTION
    assert [q.text for q in await store.inbox()] == ["Which year?"]
    await driver.audit(goal)
    assert await store.answer(goal, "q1", "2025") == asking
    assert (await store.goal(goal)).status is Status.RUNNING
    assert await store.inbox() == []
    again = await driver.take(asking)
    assert await store.ask(again, question) == "READY"
    await store.finish(again, JobState.DONE, '{"outcome": "done", "answer": "2025"}')
    await driver.complete(goal, 1)


async def test_lists_page_through_all_goals_newest_first(store: Store, driver: Driver, clock: Clock) -> None:
    made = []
    for number in range(25):
        clock.forward(number % 2)
        made.append(await driver.submit(f"goal {number}"))
    seen: list[str] = []
    cursor = None
    while True:
        page, cursor = await store.list_goals(limit=10, cursor=cursor)
        seen += [goal.id for goal in page]
        if cursor is None:
            break
    assert len(seen) == 25 and set(seen) == set(made)
    assert seen[-1] == made[0]


async def test_a_final_goal_leaves_the_lists_when_its_keys_have_expired(
    store: Store, driver: Driver, clock: Clock
) -> None:
    goal = await driver.submit()
    await store.cancel(goal)
    shard = int(store.keys.due(goal).partition("{s")[2][:2])
    assert await store.expired(shard, now=clock.now) == []
    clock.forward(31 * 86400)
    assert await store.expired(shard, now=clock.now) == [goal]
    assert not await store.forget(goal), "while it is there it is not forgotten"
    for key in await store.redis.keys(store.keys.goal(goal) + "*"):
        await store.redis.delete(key)
    assert await store.forget(goal)
    assert await store.expired(shard, now=clock.now) == []
    assert await store.count(*Status) == 0


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.goal("goal_nope")
    for command in (store.pause, store.resume, store.cancel):
        with pytest.raises(NotFound):
            await command("goal_nope")
    assert await store.start(JobRef.of("goal_nope", 1, "plan")) is Start.GONE
    assert isinstance(await store.start(JobRef.of("goal_nope", 1, "plan")), Start) and Attempt
