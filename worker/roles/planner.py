"""The planner: contract and history in, a round's subtasks out."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from pursuit.contract import draft
from pursuit.models import Brief, Goal, JobRef, Plan, PlannedRound
from pursuit.plan import expand, fit, problems
from pursuit.state import JobState, Reason
from pursuit.store import Attempt, Follow
from pursuit.tree import listed
from worker.files.imports import Begun, import_inputs
from worker.files.workspace import Workspace
from worker.prompts import fence, prompt
from worker.recording import Ended
from worker.roles.agent import Assignment, Loop, OutOfBudget
from worker.roles.closing import closing_report
from worker.roles.outcome import Outcome
from worker.roles.replaying import converse
from worker.roles.view import STOP, model_of, planner_view, stalled_question
from worker.roles.waits import WAITS_MOST, begin, refused, waited
from worker.runtime import Runtime
from worker.tools import Effect

STEPS = 30
TITLES_IN_EVENT = 300


class PlanBlocked(Exception):
    """The planner sees no way on."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason, self.text = reason, text


@dataclass(frozen=True)
class Start:
    """What a plan begins with: the files, what was open and late, and what came of a wait."""

    workspace: Workspace
    begun: Begun | None
    open_items: list[str]
    late: list[str]
    waited: str


async def plan_round(runtime: Runtime, attempt: Attempt, goal: Goal) -> tuple[Loop[Plan], Outcome]:
    """Asks the model for a plan that may start. Raises PlanBlocked, Waiting and what the loop raises."""
    start = await _start(runtime, attempt, goal)
    tools = await runtime.tools_for(goal)
    model = runtime.models.of(model_of(goal, goal.models.planner), "planner")
    view = await planner_view(runtime.store, goal)
    view["tools"] = {tool.name: tool.description for tool in tools.values()}
    view["waited"] = start.waited or None
    assignment = Assignment(
        system=prompt("planner"),
        user=fence("goal", view),
        submit="submit_plan",
        submit_help="Hand in this round's plan.",
        result=Plan,
        toolbox=runtime.toolbox(
            goal,
            tools,
            attempt.ref,
            start.workspace,
            lambda tool: tool.effect is Effect.READ,
            window=model.profile.window,
        ),
        steps=STEPS,
        model=model,
        review=lambda plan, entries: _review(runtime, goal, plan, start, set(tools)),
    )
    try:
        loop = await converse(runtime, attempt, goal, assignment)
        plan = await loop.run()
    except Ended as error:
        raise PlanBlocked(Reason.CONFIGURATION, str(error)) from error
    except OutOfBudget as error:
        if closing := await closing_report(runtime, attempt, goal):
            await runtime.store.note_closing(goal.id, closing)
        raise PlanBlocked(Reason.BUDGET, f"{error}; resume it with more to go on") from error
    if plan.blocker:
        raise PlanBlocked(Reason(plan.blocker.reason), plan.blocker.text)
    if plan.wait:
        if goal.waits >= WAITS_MOST:
            raise PlanBlocked(Reason.STALLED, f"{goal.waits} waits one after the other, without a round in between")
        raise begin(plan.wait.model_copy(update={"by": "model"}))
    briefs = fit(expand(plan, start.open_items), goal.budget.steps - goal.usage.steps)
    outcome = _outcome(goal, plan, briefs)
    await asyncio.to_thread(_begin, runtime, start.begun, outcome.follow)
    outcome.follow.heard = start.late
    return loop, outcome


async def _start(runtime: Runtime, attempt: Attempt, goal: Goal) -> Start:
    await _stop_if_told(runtime, goal)
    begun: Begun | None = None
    if not goal.base and any(item.edit for item in goal.inputs):
        begun = await asyncio.to_thread(import_inputs, goal, runtime.settings.input_roots, runtime.blobs)
    workspace = await runtime.workspace(goal, begun=begun.files if begun else None)
    # an attempt that has recorded something had its look already
    said = "" if attempt.journal_length else await waited(runtime, goal, workspace)
    return Start(
        workspace=workspace,
        begun=begun,
        open_items=await runtime.store.open_items(goal.id),
        late=list(await runtime.store.late(goal.id)),
        waited=said,
    )


async def _stop_if_told(runtime: Runtime, goal: Goal) -> None:
    """A person who was asked how to go on may say that it shouldn't; no model is asked then."""
    asked = {q.id: q.answer for q in await runtime.store.questions(goal.id)}
    if (asked.get(stalled_question(goal.id, goal.round - 1)) or "").strip().lower().rstrip(".!") == STOP:
        raise PlanBlocked(Reason.STALLED, "a person said to stop here")


def _review(runtime: Runtime, goal: Goal, plan: Plan, start: Start, tools: set[str]) -> list[str]:
    if plan.blocker:
        return []
    if plan.wait:
        return refused(runtime, plan.wait)
    try:
        briefs = expand(plan, start.open_items)
    except ValueError as error:
        return [f"the template can't be filled in: {error}"]
    found = problems(briefs, tools=tools, most=goal.budget.subagents, boundaries=goal.contract.boundaries)
    if runtime.settings.commands != "all" and any(c.check.kind == "command" for c in plan.criteria):
        found.append("this server runs no commands of models: draft criteria with other checks")
    return found


def _begin(runtime: Runtime, begun: Begun | None, follow: Follow) -> None:
    """Records what the goal begins with, in the script that records its first plan."""
    if begun is None:
        return
    blob = runtime.blobs.put_text(listed({file.path: file for file in begun.files}), durable=True)
    follow.set |= {"base": blob, "imported": blob, "commits": json.dumps(begun.commits)}


def _outcome(goal: Goal, plan: Plan, briefs: list[Brief]) -> Outcome:
    refs = tuple(JobRef.of(goal.id, goal.round, f"{number:03d}") for number in range(1, len(briefs) + 1))
    titles = tuple(brief.title for brief in briefs)
    planned = PlannedRound(approach=plan.approach, titles=titles)
    said = {
        "round": goal.round,
        "approach": plan.approach[:500],
        "subtasks": [{"id": r.job, "title": t[:60]} for r, t in zip(refs, titles, strict=True)][:TITLES_IN_EVENT],
    }
    follow = Follow(
        jobs=list(zip(refs, briefs, strict=True)),
        events=[("round.planned", "planner", said)],
        items=list(dict.fromkeys(brief.item for brief in briefs if brief.item)),
        set={"wait": ""},
    )
    if plan.criteria and goal.contract.author == "engine":
        follow.draft = (goal.contract.revision, draft(goal.contract, plan.criteria))
    return Outcome(state=JobState.DONE, result=planned.model_dump_json(), follow=follow, fan_out=refs)
