"""What issue 5 asks of the store: amendments, acceptance, rounds that go on without their last, layers, questions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pursuit.contract import Criterion, Wait
from pursuit.errors import IllegalTransition, Stale
from pursuit.models import Artifact, Brief, JobRef, Question, Stragglers, question_id
from pursuit.state import JobState, Reason, Status
from pursuit.store import Attempt, Change, Fence, Finished, Follow, Spent, Start, Store, Wanted
from pursuit.store.changes import amended
from tests.store.conftest import Clock, Driver

DONE = '{"outcome": "done", "answer": "fine"}'
LATE = Stragglers(quorum=0.6, factor=2.0, least_seconds=60)


async def finish(store: Store, attempt: Attempt, follow: Follow | None = None) -> Finished:
    return await store.finish(attempt, JobState.DONE, DONE, follow)


async def test_an_amendment_is_one_revision_however_often_it_is_sent(store: Store, driver: Driver) -> None:
    goal = await driver.submit(criteria=[Criterion(text="a")])
    change = Change(criteria=[Criterion(id="c1", text="a"), Criterion(text="b")], note="more")
    for _ in range(2):
        assert (await store.amend(goal, change, key="k")).changed
    shown = await store.goal(goal)
    assert (shown.contract.revision, shown.contract.criterion_ids()) == (2, ["c1", "c2"])
    assert [c.revision for c in await store.contracts(goal)] == [1, 2]
    (words,) = await store.guidance(goal)
    assert words.amended == 2 and "c2: b" in words.text
    assert [e.type for e in await store.events(goal)].count("goal.amended") == 1


async def test_who_has_seen_an_older_goal_amends_nothing(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    seen = (await store.goal(goal)).revision
    await store.guide(goal, "something happens")
    with pytest.raises(Stale):
        await store.amend(goal, Change(note="x"), expected=str(seen))
    await store.amend(goal, Change(note="x"), expected=str(seen + 1))
    await store.cancel(goal)
    with pytest.raises(IllegalTransition):
        await store.amend(goal, Change(note="x"))


async def test_a_completion_rests_on_the_contract_as_it_is(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    for ref in await driver.plan(goal, 1):
        await driver.do(ref)
    verify = await driver.take(JobRef.of(goal, 1, "verify"))
    await store.amend(goal, Change(note="one thing more"))
    plan = JobRef.of(goal, 2, "plan")
    follow = Follow(status="completed", reason="met", revision=1, otherwise=(2, plan))
    finished = await store.finish(verify, JobState.DONE, "{}", follow)
    assert (finished.verdict, finished.status) == ("FIRST", "running")
    shown = await store.goal(goal)
    assert (shown.status, shown.round) == (Status.RUNNING, 2)
    assert isinstance(await store.start(plan), Attempt)
    await driver.audit(goal)


async def test_amending_takes_a_blocked_goal_up_again(store: Store, driver: Driver, clock: Clock) -> None:
    goal = await driver.submit()
    plan = await driver.take(JobRef.of(goal, 1, "plan"))
    await store.block(plan, Reason.IMPOSSIBLE, "there is no such thing", restart=True)
    await store.amend(goal, Change(note="something else then"))
    assert (await store.goal(goal)).status is Status.RUNNING
    assert await driver.due() == [JobRef.of(goal, 1, "plan")]


async def test_a_person_accepts_once_and_never_what_has_not_begun(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    with pytest.raises(IllegalTransition):
        await store.accept(goal)
    refs = await driver.plan(goal, 2)
    running = await driver.take(refs[0])
    assert (await store.accept(goal, reason="good enough", key="k")).changed
    shown = await store.goal(goal)
    assert (shown.status, shown.reason, shown.detail) == (Status.COMPLETED, Reason.ACCEPTED, "good enough")
    assert not (await store.accept(goal)).changed and (await store.accept(goal, reason="good enough", key="k")).changed
    assert (await finish(store, running)).verdict == "GONE"
    assert await driver.due() == [] and await store.audit(goal) == []
    with pytest.raises(IllegalTransition):
        await store.cancel(goal)


async def hurried(store: Store, driver: Driver, clock: Clock, **over: Any) -> tuple[str, list[JobRef], Attempt]:
    """A round of five of which three have ended after ten seconds, and one of the others runs."""
    goal = await driver.submit(stragglers=LATE.model_copy(update=over))
    refs = await driver.plan(goal, 5)
    slow = await driver.take(refs[0])
    others = [await driver.take(ref) for ref in refs[1:4]]
    clock.forward(10)
    for attempt in others:
        assert (await finish(store, attempt)).verify is None
    return goal, refs, slow


async def test_with_its_quorum_a_round_gives_the_rest_a_while_and_then_cuts_it(
    store: Store, driver: Driver, clock: Clock
) -> None:
    goal, refs, slow = await hurried(store, driver, clock)
    verify = JobRef.of(goal, 1, "verify")
    assert await store.start(verify) is Start.BUSY, "nobody is cut before the time"
    await driver.audit(goal)
    for _ in range(3):  # half of the 60 seconds
        clock.forward(9)
        assert (await store.beat([slow]))[0] is not None
    assert not (await store.spend(slow, Wanted())).hurried
    clock.forward(4)
    assert (await store.spend(slow, Wanted())).hurried, "then it is told"
    for _ in range(3):
        clock.forward(10)
        await store.beat([slow])
    taken = await driver.take(verify)
    jobs = await store.jobs(goal, 1)
    assert [jobs[ref.job].state for ref in refs] == ["cut", "done", "done", "done", "cut"]
    assert (await store.goal(goal)).tally.running == 1 and await store.audit(goal) == []
    assert set(await store.digests(goal, 1)) == {ref.job for ref in refs}, "the verification sees one of each"
    assert await store.start(refs[4]) is Start.DONE
    # the one that runs goes on for a while, holds nothing of the budget, and what it brings is late
    assert (await store.beat([slow]))[0].fence is Fence.KEPT  # type: ignore[union-attr]
    wanted = Wanted(tokens=10)
    assert (await store.journal(slow, 0, [], call=Spent(5, 5), following=wanted)).fence is Fence.KEPT
    layer = [Artifact(path="a", sha256="f" * 64, size=1, round=1, subtask=refs[0].job)]
    late = await finish(store, slow, Follow(layer=layer))
    assert late.verdict == "FIRST" and (await finish(store, slow)).verdict == "DUP"
    assert list(await store.late(goal)) == [refs[0].job] and list(await store.layers(goal)) == [refs[0].job]
    await store.finish(taken, JobState.DONE, "{}", Follow(jobs=[(JobRef.of(goal, 2, "plan"), None)], round=2))
    plan = await driver.take(JobRef.of(goal, 2, "plan"))
    jobs2: list[tuple[JobRef, Brief | None]] = [(JobRef.of(goal, 2, "001"), Brief(title="x", objective="x"))]
    await store.finish(plan, JobState.DONE, "{}", Follow(jobs=jobs2, heard=[refs[0].job]))
    assert await store.late(goal) == {}
    held = await store.redis.hmget(store.keys.goal(goal), "held_steps", "held_tokens")
    assert [int(value or 0) for value in held] == [0, 0]
    assert await store.audit(goal) == []


async def test_many_are_cut_in_several_looks(store: Store, driver: Driver, clock: Clock) -> None:
    goal = await driver.submit(stragglers=LATE.model_copy(update={"quorum": 0.1}))
    refs = await driver.plan(goal, 70)
    for ref in refs[:7]:
        await driver.do(ref)
    clock.forward(61)
    verify = JobRef.of(goal, 1, "verify")
    assert await store.start(verify) is Start.BUSY and verify in await driver.due()
    await driver.audit(goal)
    assert isinstance(await store.start(verify), Attempt)
    states = [job.state for job in (await store.jobs(goal, 1)).values() if job.kind == "subtask"]
    assert (states.count(JobState.CUT), states.count(JobState.DONE)) == (63, 7)
    assert await store.audit(goal) == []


async def test_nobody_is_late_while_the_goal_is_paused(store: Store, driver: Driver, clock: Clock) -> None:
    goal, _, slow = await hurried(store, driver, clock)
    verify = JobRef.of(goal, 1, "verify")
    await store.pause(goal)
    await store.release(slow)
    assert (await store.goal(goal)).status is Status.PAUSED
    clock.forward(5_000)
    await store.resume(goal)
    assert await store.start(verify) is Start.BUSY, "its sixty seconds are not over"
    clock.forward(59)
    assert verify not in await driver.due()
    clock.forward(2)
    assert verify in await driver.due() and isinstance(await store.start(verify), Attempt)


async def test_what_comes_too_late_is_refused(store: Store, driver: Driver, clock: Clock) -> None:
    goal, _, slow = await hurried(store, driver, clock)
    clock.forward(61)
    await driver.take(JobRef.of(goal, 1, "verify"))
    clock.forward(1_000)
    assert (await store.beat([slow]))[0].fence is Fence.LOST  # type: ignore[union-attr]
    assert (await finish(store, slow)).verdict == "LOST"


async def test_a_round_whose_rest_comes_in_time_is_verified_at_once(store: Store, driver: Driver, clock: Clock) -> None:
    goal, refs, slow = await hurried(store, driver, clock)
    await driver.do(refs[4])
    assert (await finish(store, slow)).verify == JobRef.of(goal, 1, "verify")
    assert isinstance(await store.start(JobRef.of(goal, 1, "verify")), Attempt)
    assert {job.state for job in (await store.jobs(goal, 1)).values() if job.kind == "subtask"} == {"done"}


async def test_the_first_of_two_twins_counts(store: Store, driver: Driver, clock: Clock) -> None:
    goal, refs, slow = await hurried(store, driver, clock, then="hedge")
    verify, twin = JobRef.of(goal, 1, "verify"), JobRef.of(goal, 1, "006")
    await driver.do(refs[4])
    assert await store.start(verify) is Start.BUSY, "a message that comes early moves nothing"
    for _ in range(4):
        clock.forward(10)
        await store.beat([slow])
    assert verify in await driver.due()
    assert await store.start(verify) is Start.BUSY and await store.start(verify) is Start.BUSY
    assert twin in await driver.due() and (await store.goal(goal)).tally.total == 6
    await driver.audit(goal)
    attempt = await driver.take(twin)
    assert Brief.model_validate_json(attempt.brief).title == refs[0].name, "the same brief"
    assert (await finish(store, attempt)).verify == verify
    assert (await finish(store, slow)).verdict == "LOST"
    states = {job.id: job.state for job in (await store.jobs(goal, 1)).values()}
    assert (states[refs[0].job], states[twin.job]) == ("cut", "done")
    assert isinstance(await store.start(verify), Attempt) and await store.audit(goal) == []


async def test_a_failed_twin_leaves_the_other_at_work(store: Store, driver: Driver, clock: Clock) -> None:
    goal, refs, slow = await hurried(store, driver, clock, then="hedge")
    await driver.do(refs[4])
    clock.forward(29)
    await store.beat([slow])
    clock.forward(11)
    assert await store.start(JobRef.of(goal, 1, "verify")) is Start.BUSY
    attempt = await driver.take(JobRef.of(goal, 1, "006"))
    await store.finish(attempt, JobState.FAILED, '{"outcome": "failed", "answer": "no"}')
    assert (await finish(store, slow)).verify == JobRef.of(goal, 1, "verify")


async def test_layers_leave_with_the_verification_that_merged_them(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    for n, ref in enumerate(await driver.plan(goal, 2)):
        layer = [Artifact(path=f"{n}.md", sha256=f"{n}" * 64, size=1, round=1, subtask=ref.job)]
        await finish(store, await driver.take(ref), Follow(layer=layer))
    assert [(a.path, a.pending) for a in await store.artifacts(goal)] == [("0.md", True), ("1.md", True)]
    assert await store.committed(goal) == []
    files = [a.model_copy(update={"pending": False}) for a in await store.artifacts(goal)]
    gone = files[1].model_copy(update={"sha256": ""})
    jobs = list(await store.layers(goal))
    plan: list[tuple[JobRef, Brief | None]] = [(JobRef.of(goal, 2, "plan"), None)]
    await driver.verify(goal, 1, Follow(artifacts=[files[0], gone], merged=jobs, round=2, jobs=plan))
    assert await store.layers(goal) == {} and [a.path for a in await store.artifacts(goal)] == ["0.md"]


async def test_items_are_listed_once_and_closed_once(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    plan = await driver.take(JobRef.of(goal, 1, "plan"))
    refs = [JobRef.of(goal, 1, f"{n:03d}") for n in (1, 2)]
    briefs: list[tuple[JobRef, Brief | None]] = [(r, Brief(title="x", objective=r.name, item="ape")) for r in refs]
    await store.finish(plan, JobState.DONE, "{}", Follow(jobs=briefs, items=["ape", "bear", "ape"]))
    assert (await store.goal(goal)).items.total == 2
    for ref in refs:
        await finish(store, await driver.take(ref), Follow(closes="ape"))
    assert (await store.goal(goal)).items.closed == 1 and await store.open_items(goal) == ["bear"]
    assert (await store.goal(goal)).items.total == 2


async def test_a_question_of_the_engine_holds_the_next_plan_back(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    for ref in await driver.plan(goal, 1):
        await driver.do(ref)
    plan = JobRef.of(goal, 2, "plan")
    question = Question(
        id=question_id(goal, "stalled1"), goal=goal, job=plan.job, text="How?", asked_at=datetime.now(UTC)
    )
    await driver.verify(goal, 1, Follow(jobs=[(plan, None)], round=2, ask=question))
    shown = await store.goal(goal)
    assert (shown.status, shown.reason) == (Status.BLOCKED, Reason.QUESTION)
    assert await store.start(plan) is Start.HOLD and [q.text for q in await store.inbox()] == ["How?"]
    await driver.audit(goal)
    await store.answer(goal, question.id, "like this")
    assert isinstance(await store.start(plan), Attempt) and await store.inbox() == []


async def test_resuming_answers_what_the_engine_asked(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    for ref in await driver.plan(goal, 1):
        await driver.do(ref)
    plan = JobRef.of(goal, 2, "plan")
    question = Question(id=question_id(goal, "s"), goal=goal, job=plan.job, text="How?", asked_at=datetime.now(UTC))
    await driver.verify(goal, 1, Follow(jobs=[(plan, None)], round=2, ask=question))
    await store.resume(goal, reason="just try")
    assert (await store.question(goal, question.id)).answer == "just try" and await store.inbox() == []
    assert isinstance(await store.start(plan), Attempt)
    await driver.audit(goal)


async def test_a_sign_off_blocks_under_its_name(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    for ref in await driver.plan(goal, 1):
        await driver.do(ref)
    verify = await driver.take(JobRef.of(goal, 1, "verify"))
    question = Question(
        id=question_id(goal, "sign1"),
        kind="sign_off",
        goal=goal,
        job="r1-verify",
        text="OK?",
        asked_at=datetime.now(UTC),
    )
    await store.ask(verify, question)
    assert (await store.goal(goal)).reason is Reason.SIGN_OFF
    await store.resume(goal)
    again = await driver.take(JobRef.of(goal, 1, "verify"))
    assert await store.ask(again, question) == "PARKED" and len(await store.inbox()) == 1
    assert (await store.question(goal, question.id)).answer is None
    await store.answer(goal, question.id, "yes")
    assert (await store.goal(goal)).status is Status.RUNNING


async def test_a_declared_wait_is_kept_and_its_plan_begins_anew(store: Store, driver: Driver, clock: Clock) -> None:
    goal = await driver.submit()
    plan = JobRef.of(goal, 1, "plan")
    attempt = await driver.take(plan)
    await store.journal(attempt, 0, [], call=Spent(1, 1))
    wait = Wait(kind="timer", seconds=90)
    await store.wait(attempt, Reason.TIMER, "the tide", 90, declared=wait)
    shown = await store.goal(goal)
    assert (shown.status, shown.reason, shown.wait, shown.waits) == (Status.WAITING, Reason.TIMER, wait, 1)
    clock.forward(89)
    assert await driver.due() == [] and await store.start(plan) is Start.HOLD
    clock.forward(2)
    assert await driver.due() == [plan]
    again = await driver.take(plan)
    assert again.journal_length == 0
    await store.wait(again, Reason.TIMER, "the tide", 5)
    shown = await store.goal(goal)
    assert shown.waits == 1 and shown.wait_since is not None, "another look is no other wait"


async def test_an_amendment_made_from_an_older_contract_is_made_anew(store: Store, driver: Driver) -> None:
    goal = await driver.submit()
    behind = amended(await store.goal(goal), Change(note="mine"))
    await store.amend(goal, Change(note="theirs"))
    reply = await store._scripts.run("amend", store._pair(goal), ["", *behind, "", ""])
    assert reply[0] == "AGAIN"
    await store.amend(goal, Change(note="mine"))
    assert (await store.goal(goal)).contract.notes == ("theirs", "mine")
