"""The roles as the simulator plays them: the real loop and the real decisions, with dice for a model."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

from pursuit.contract import Frozen
from pursuit.models import (
    Blocker,
    Brief,
    Digest,
    Finding,
    Goal,
    JobRef,
    Plan,
    Verdict,
)
from pursuit.models import question_id as name_question
from pursuit.round import advance, decide
from pursuit.state import JobKind, JobState, Reason
from pursuit.store import Attempt, Follow
from worker.llm.model import Answer, Garbled, ToolCall, Unavailable
from worker.roles import planner, verifier
from worker.roles.agent import Assignment, Loop
from worker.roles.outcome import Outcome
from worker.tools import Effect
from worker.tools.registry import NeedsAnswer, Ran

if TYPE_CHECKING:
    from tests.simulation.fleet import Process


class Handed(Frozen):
    """What every role hands in."""

    width: int = 1


class Player:
    """The model: thinks for a while, calls a tool or two, hands in; fails now and then."""

    name = "dice"

    def __init__(self, process: Process) -> None:
        self._process = process

    async def answer(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]], *, only: str = "") -> Answer:
        world, process = self._process.world, self._process
        goal, job, nonce, submit = messages[1]["content"].split("|")
        turn = sum(message["role"] == "assistant" for message in messages)
        await process.until_alive()
        if world.rng.random() < world.weather.poison:
            process.die()
            await process.until_alive()
        world.oracle.effect(goal, job, nonce, f"turn {turn}")
        await asyncio.sleep(world.rng.choice((0.2, 1, 3, 25)))
        if world.rng.random() < 0.02:
            raise world.rng.choice((Unavailable, Garbled))("the endpoint has a bad day")
        dice = random.Random(f"{world.seed} {goal} {job} {turn}")
        if turn < dice.choice((0, 1, 1, 2, 3)):
            name = "ask" if dice.random() < 0.08 and "plan" not in job else "work"
            calls = tuple(
                ToolCall(id=f"c{turn}{part}", name=name, arguments="{}") for part in "ab"[: dice.randint(1, 2)]
            )
        else:
            calls = (ToolCall(id=f"c{turn}", name=submit, arguments=json.dumps({"width": dice.randint(1, 5)})),)
        return Answer(calls=calls, tokens_in=10, tokens_out=1)


class Box:
    """A job's tools."""

    def __init__(self, process: Process, attempt: Attempt) -> None:
        self._process, self._attempt = process, attempt

    def schemas(self) -> list[dict[str, Any]]:
        return []

    def effect(self, name: str) -> Effect:
        return Effect.REPEATABLE if name == "work" else Effect.READ

    def names(self) -> list[str]:
        return ["work", "ask"]

    async def permit(self, name: str, arguments: str, key: str) -> str | None:
        return None

    def polls(self, name: str) -> bool:
        return False

    async def run(self, name: str, arguments: str, key: str) -> Ran:
        world, ref = self._process.world, self._attempt.ref
        call = key.rpartition(":")[2]
        if name == "ask":
            question = name_question(ref.goal, f"{ref.job}{call}".replace("-", ""))
            asked = {q.id: q for q in await self._process.store.questions(ref.goal)}
            if question in asked and asked[question].answer:
                return Ran(True, str(asked[question].answer))
            raise NeedsAnswer(question, "May I?", ("yes", "no"))
        await self._process.until_alive()
        world.oracle.effect(ref.goal, ref.job, self._attempt.nonce, f"tool {call}")
        await asyncio.sleep(world.rng.choice((0.0, 0.5, 5.0)))
        return Ran(True, "done")


def loop_of(runtime: Any, attempt: Attempt, steps: int = 12) -> Loop[Handed]:
    ref, submit = attempt.ref, f"submit_{attempt.ref.kind}"
    toolbox: Any = Box(runtime.process, attempt)
    user = f"{ref.goal}|{ref.job}|{attempt.nonce}|{submit}"
    model = runtime.models.of("", "subagent")
    assignment = Assignment(
        system="", user=user, submit=submit, submit_help="", result=Handed, toolbox=toolbox, steps=steps, model=model
    )
    return Loop(runtime, attempt, assignment)


async def plan_round(runtime: Any, attempt: Attempt, goal: Goal) -> tuple[Loop[Any] | None, Outcome]:
    loop = loop_of(runtime, attempt)
    handed = await loop.run()
    if runtime.process.world.rng.random() < 0.02:
        raise planner.PlanBlocked(Reason.IMPOSSIBLE, "there is no such thing")
    briefs = [Brief(title=f"part {n}", objective=f"do part {n} of round {goal.round}") for n in range(handed.width)]
    return loop, planner._outcome(goal, Plan.model_construct(approach="in parts"), briefs)


async def carry_out(runtime: Any, attempt: Attempt, goal: Goal) -> tuple[Loop[Any] | None, Outcome]:
    loop = loop_of(runtime, attempt)
    Brief.model_validate_json(attempt.brief)
    await loop.run()
    digest = Digest(outcome="done", answer=attempt.ref.job)
    said = {"subtask": attempt.ref.job, "outcome": "done", "answer": digest.answer, "artifacts": []}
    follow = Follow(events=[("subtask.finished", "subagent", said)])
    return loop, Outcome(state=JobState.DONE, result=digest.model_dump_json(), follow=follow)


async def verify_round(runtime: Any, attempt: Attempt, goal: Goal) -> tuple[Loop[Any] | None, Outcome]:
    world = runtime.process.world
    loop = loop_of(runtime, attempt)
    await loop.run()
    digests = set(await runtime.store.digests(goal.id, goal.round))
    whole = {JobRef.of(goal.id, goal.round, f"{n:03d}").job for n in range(1, goal.tally.total + 1)}
    world.oracle.verified(attempt, complete=digests == whole)
    dice = random.Random(f"{world.seed} {goal.id} {goal.round}")
    met = goal.round >= random.Random(f"{world.seed} {goal.id}").randint(1, 6)
    status = "met" if met else "not_met"
    findings = tuple(Finding(criterion=name, status=status) for name in goal.contract.criterion_ids())
    blocker = Blocker(reason="configuration", text="no key") if dice.random() < 0.1 else None
    verdict = Verdict(revision=goal.contract.revision, findings=findings, evidence=(), blocker=blocker)
    goal = await runtime.store.goal(goal.id)
    artifacts = {f"file-{goal.round if dice.random() < 0.7 else 0}": "h"}
    streak = advance(goal.streak, verdict, artifacts=artifacts, blocker=blocker)
    return loop, verifier._outcome(goal, verdict, streak, decide(goal, verdict, streak))


WORK: dict[JobKind, Any] = {JobKind.PLAN: plan_round, JobKind.SUBTASK: carry_out, JobKind.VERIFY: verify_round}
