"""The planner: contract and history in, a round's subtasks out."""

from __future__ import annotations

from pursuit.models import Brief, Goal, JobRef, Plan, PlannedRound
from pursuit.plan import expand, problems
from pursuit.state import JobState, Reason
from pursuit.store import Attempt, Follow
from worker.prompts import fence, prompt
from worker.roles.agent import Assignment, Loop, OutOfBudget
from worker.roles.closing import closing_report
from worker.roles.outcome import Outcome
from worker.roles.view import planner_view
from worker.runtime import Runtime
from worker.tools import Effect

STEPS = 30
TITLES_IN_EVENT = 300


class PlanBlocked(Exception):
    """The planner sees no way on."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason, self.text = reason, text


async def plan_round(runtime: Runtime, attempt: Attempt, goal: Goal) -> tuple[Loop[Plan], Outcome]:
    """Asks the model for a plan that may start. Raises PlanBlocked and what the loop raises."""
    tools = await runtime.tools_for(goal)

    def review(plan: Plan) -> list[str]:
        if plan.blocker:
            return []
        try:
            briefs = expand(plan)
        except ValueError as error:
            return [f"the template can't be filled in: {error}"]
        return problems(briefs, tools=set(tools), most=goal.budget.subagents)

    model = runtime.models.of(goal.models.planner, "planner")
    view = await planner_view(runtime.store, goal)
    view["tools"] = {tool.name: tool.description for tool in tools.values()}
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
            runtime.workspace(goal),
            lambda tool: tool.effect is Effect.READ,
            window=model.profile.window,
        ),
        steps=STEPS,
        model=model,
        review=review,
    )
    loop = Loop(runtime, attempt, assignment)
    try:
        plan = await loop.run()
    except OutOfBudget as error:
        if closing := await closing_report(runtime, attempt, goal):
            await runtime.store.note_closing(goal.id, closing)
        raise PlanBlocked(Reason.BUDGET, f"{error}; resume it with more to go on") from error
    if plan.blocker:
        raise PlanBlocked(Reason(plan.blocker.reason), plan.blocker.text)
    return loop, _outcome(goal, plan, expand(plan))


def _outcome(goal: Goal, plan: Plan, briefs: list[Brief]) -> Outcome:
    refs = tuple(JobRef.of(goal.id, goal.round, f"{number:03d}") for number in range(1, len(briefs) + 1))
    titles = tuple(brief.title for brief in briefs)
    planned = PlannedRound(approach=plan.approach, titles=titles)
    said = {
        "round": goal.round,
        "approach": plan.approach[:500],
        "subtasks": [{"id": r.job, "title": t[:60]} for r, t in zip(refs, titles, strict=True)][:TITLES_IN_EVENT],
    }
    return Outcome(
        state=JobState.DONE,
        result=planned.model_dump_json(),
        follow=Follow(jobs=list(zip(refs, briefs, strict=True)), events=[("round.planned", "planner", said)]),
        fan_out=refs,
    )
