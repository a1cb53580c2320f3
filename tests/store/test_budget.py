"""Budgets in the store: reserved before a call, settled with its record, shared by all; and goals that wait."""

from __future__ import annotations

import asyncio
from importlib import resources

import pytest

from pursuit.budget import KEPT
from pursuit.models import AddBudget, Budget, Entry, JobRef
from pursuit.state import Reason, Status
from pursuit.store import HELD, Spent, Store, Wanted
from tests.store.conftest import Clock, Driver

ANSWER = Entry(kind="answer", body={})
CALL = Spent(tokens_in=80, tokens_out=20, cached=50, micros=1_000)


async def test_three_hundred_at_once_never_use_a_step_too_many(store: Store, driver: Driver) -> None:
    goal = await driver.submit(budget=Budget(steps=1_000))
    attempts = [await driver.take(ref) for ref in await driver.plan(goal, 300)]
    refused: list[str] = []
    lines = asyncio.Semaphore(50)  # connections to Redis

    async def work(place: int) -> None:
        attempt, done = attempts[place], 0
        for kind in ("work", "close"):
            while True:
                async with lines:
                    beat = await store.spend(attempt, Wanted(kind=kind))
                if beat.over and beat.over != HELD:
                    break
                await asyncio.sleep(0)  # the call itself, or waiting for others
                if beat.over:
                    continue
                async with lines:
                    await store.journal(attempt, done, [ANSWER], call=CALL)
                done += 1
            refused.append(beat.over)

    await asyncio.gather(*(work(place) for place in range(300)))
    shown = await store.goal(goal)
    assert shown.usage.steps == 995, "the last ones are kept for the report"
    assert (shown.usage.tokens_in, shown.usage.tokens_out, shown.usage.tokens_cached) == (79_600, 19_900, 49_750)
    assert shown.usage.usd == pytest.approx(0.995)
    assert refused == ["steps"] * 600


@pytest.mark.parametrize(
    ("budget", "part", "work", "close"),
    [
        (Budget(steps=200), "steps", 196, 199),
        (Budget(tokens=10_000), "tokens", 90, 97),
        (Budget(usd=0.1), "micros", 90, 97),
    ],
)
async def test_a_part_is_kept_for_closing_and_of_that_some_for_the_report(
    store: Store, driver: Driver, budget: Budget, part: str, work: int, close: int
) -> None:
    goal = await driver.submit(budget=budget)
    attempt, done = await driver.take((await driver.plan(goal, 1))[0]), 0
    counts = {}
    for kind in ("work", "close"):
        while not (beat := await store.spend(attempt, Wanted(kind=kind, tokens=100, micros=1_000))).over:
            await store.journal(attempt, done, [ANSWER], call=CALL)
            done += 1
        assert beat.over == part
        counts[kind] = done
    assert counts == {"work": work, "close": close}
    report = await store.spend(attempt, Wanted(kind="report", tokens=9_000, micros=90_000))
    assert report.over == "", "and where that is too little, it is paid all the same"


def test_scripts_and_decisions_keep_the_same_shares() -> None:
    text = (resources.files("pursuit.store") / "lua" / "_lib.lua").read_text()
    assert f"local KEPT = {{work = {KEPT['tokens']}," in text and KEPT["tokens"] == KEPT["US dollars"]
    assert f"local KEPT_STEPS = {{work = {KEPT['steps']}," in text


async def test_recording_a_call_settles_it_and_reserves_the_next(store: Store, driver: Driver) -> None:
    goal = await driver.submit(budget=Budget(tokens=1_000))
    one, two = [await driver.take(ref) for ref in await driver.plan(goal, 2)]
    first = await store.journal(one, 0, [ANSWER], call=CALL, following=Wanted(tokens=700))
    assert first.over == ""
    assert (await store.spend(two, Wanted(tokens=200))).over == HELD, "what is held may still be used"
    assert (await store.spend(two, Wanted(tokens=900))).over == "tokens", "this never fits"
    again = await store.journal(one, 0, [ANSWER], call=CALL, following=Wanted(tokens=700))
    assert (again.fence, again.over) == ("HAVE", ""), "a repeated call neither counts nor holds twice"
    await store.release(one)
    assert (await store.spend(two, Wanted(tokens=200))).over == "", "who stops gives back what it held"


async def test_a_dead_workers_reservation_is_given_back(store: Store, driver: Driver, clock: Clock) -> None:
    goal = await driver.submit(budget=Budget(tokens=1_000))
    refs = await driver.plan(goal, 2)
    await store.spend(await driver.take(refs[0]), Wanted(tokens=800))
    clock.forward(31)
    await store.sweep([refs[0]])
    assert (await store.spend(await driver.take(refs[1]), Wanted(tokens=800))).over == ""


async def test_the_warning_comes_once_and_again_after_more_budget(store: Store, driver: Driver) -> None:
    goal = await driver.submit(budget=Budget(steps=20))
    attempt = await driver.take((await driver.plan(goal, 1))[0])

    async def warnings() -> list[dict[str, object]]:
        return [e.data for e in await store.events(goal, limit=1000) if e.type == "budget.warning"]

    for step in range(15):
        assert await warnings() == []
        await store.journal(attempt, step, [ANSWER], call=CALL)
    await store.journal(attempt, 15, [ANSWER], call=CALL)
    assert await warnings() == [{"part": "steps", "used": 0.75}]
    assert (await store.goal(goal)).warned == "steps"
    await store.resume(goal, add=AddBudget(steps=20))
    assert (await store.goal(goal)).warned == ""
    for step in range(16, 32):
        await store.journal(attempt, step, [ANSWER], call=CALL)
    assert len(await warnings()) == 2


async def test_money_is_added_in_dollars_and_only_where_it_is_limited(store: Store, driver: Driver) -> None:
    goal = await driver.submit(budget=Budget(usd=1.5))
    await store.resume(goal, add=AddBudget(usd=0.25, tokens=10))
    budget = (await store.goal(goal)).budget
    assert (budget.usd, budget.tokens) == (1.75, None)


async def test_wall_clock_stops_work_and_lets_it_close(store: Store, driver: Driver, clock: Clock) -> None:
    goal = await driver.submit(budget=Budget(wall_seconds=100))
    attempt = await driver.take((await driver.plan(goal, 1))[0])
    clock.forward(99)
    assert (await store.spend(attempt, Wanted())).over == ""
    clock.forward(2)
    assert (await store.spend(attempt, Wanted())).over == "wall_seconds"
    assert (await store.spend(attempt, Wanted(kind="close"))).over == ""


async def test_time_of_work_is_counted_over_attempts_and_not_while_nobody_works(
    store: Store, driver: Driver, clock: Clock
) -> None:
    (ref,) = await driver.plan(await driver.submit(), 1)
    first = await driver.take(ref)
    clock.forward(10)
    await store.release(first)
    clock.forward(500)
    second = await driver.take(ref)
    assert second.active == 10
    clock.forward(300)  # its worker died at once; what is known is its lease
    assert (await driver.take(ref)).active == 40


async def test_a_goal_waits_for_its_quota_and_wakes_by_itself(store: Store, driver: Driver, clock: Clock) -> None:
    goal = await driver.submit()
    one, two, three = await driver.plan(goal, 3)
    first, second = await driver.take(one), await driver.take(two)
    await store.wait(first, Reason.QUOTA, "nothing left", 600)
    shown = await store.goal(goal)
    assert (shown.status, shown.reason) == (Status.WAITING, Reason.QUOTA)
    assert shown.wake_at is not None and shown.wake_at.timestamp() * 1000 == clock.now + 600_000
    assert await store.start(three) == "HOLD", "nothing more is begun"
    await store.wait(second, Reason.QUOTA, "nothing left", 600)
    clock.forward(500)
    assert await driver.due() == []
    clock.forward(101)
    due = await driver.due()
    assert {ref.job for ref in due} == {one.job, two.job, three.job}
    swept = await store.sweep(due)
    assert set(swept.publish) == {one, two, three}
    assert (await store.goal(goal)).status is Status.RUNNING
    assert (await driver.take(one)).number == 1, "waiting costs no attempt"
    await driver.audit(goal)


async def test_a_message_that_comes_at_the_right_time_wakes_the_goal(
    store: Store, driver: Driver, clock: Clock
) -> None:
    goal = await driver.submit()
    await store.wait(await driver.take(JobRef.of(goal, 1, "plan")), Reason.QUOTA, "nothing left", 600)
    clock.forward(601)
    await driver.take(JobRef.of(goal, 1, "plan"))
    assert (await store.goal(goal)).status is Status.RUNNING


async def test_a_waiting_goal_is_paused_resumed_and_cancelled(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    one, two = await driver.plan(goal, 2)
    running = await driver.take(two)
    await store.wait(await driver.take(one), Reason.QUOTA, "nothing left", 600)
    assert (await store.pause(goal)).status == "waiting"
    await store.release(running)
    assert (await store.goal(goal)).status is Status.PAUSED
    await store.resume(goal)
    await store.wait(await driver.take(one), Reason.QUOTA, "nothing left", 600)
    assert (await store.resume(goal)).status == "running", "a person says that there is quota again"
    assert {ref.job for ref in await driver.due()} == {one.job, two.job}
    await store.wait(await driver.take(one), Reason.QUOTA, "nothing left", 600)
    assert (await store.cancel(goal)).status == "cancelled"


async def test_a_block_of_one_job_ends_the_waiting_of_another(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    one, two = [await driver.take(ref) for ref in await driver.plan(goal, 2)]
    await store.wait(one, Reason.QUOTA, "nothing left", 600)
    await store.block(two, Reason.CONFIGURATION, "no such key")
    assert (await store.goal(goal)).status is Status.BLOCKED


async def test_no_wait_is_for_ever(store: Store, driver: Driver, clock: Clock) -> None:
    goal = await driver.submit()
    (ref,) = await driver.plan(goal, 1)
    for _ in range(7):
        await store.wait(await driver.take(ref), Reason.QUOTA, "nothing left", 86_400)
        assert (await store.goal(goal)).status is Status.WAITING
        clock.forward(86_401)
    await store.wait(await driver.take(ref), Reason.QUOTA, "nothing left", 86_400)
    shown = await store.goal(goal)
    assert (shown.status, shown.reason) == (Status.BLOCKED, Reason.CONFIGURATION)
    assert "a week" in shown.detail
