"""Amend, accept, fork and replay goals."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from pydantic import AwareDatetime, Field, StringConstraints

from api.routes.goals import Key, check_commands, reply, tag_of
from api.state import Here, State
from api.views import CommandView, ContractPage, GoalView, goal_view
from config.models import REPLAY
from pursuit.contract import Amendment, Contract, Frozen, Label, amend
from pursuit.errors import Conflict, InvalidField
from pursuit.models import Budget, Goal, JobRef, Models, Policy, RoundRecord, Submission
from pursuit.store import Change, Parent

router = APIRouter(tags=["goals"])

#: rounds before a fork that its planner hears of
HISTORY = 20


class Accept(Frozen):
    """Why a person takes it as it is."""

    reason: str = Field("", max_length=2_000)


class Fork(Amendment):
    """From which round, and what is to be different; what isn't named is as in the goal that is forked."""

    round: int | None = Field(None, ge=0, description="begin with its files; 0: at the start; none: the last")
    budget: Budget | None = None
    models: Models | None = None
    policy: Policy | None = None
    labels: dict[Label, Annotated[str, StringConstraints(max_length=200)]] | None = Field(None, max_length=20)
    start_at: AwareDatetime | None = None


@router.patch("/goals/{goal}", response_model=GoalView)
async def amend_goal(
    here: Here,
    goal: str,
    body: Change,
    response: Response,
    if_match: Annotated[str | None, Header(alias="If-Match")] = None,
    key: Key = None,
) -> GoalView:
    """Changes the contract (a new revision), the budget, the policy or the labels; the first objective never changes.

    The next plan and all running sub-agents go by it, and a blocked goal is taken up again.
    """
    check_commands(here, body.criteria or ())
    if not body.model_fields_set:
        raise InvalidField("nothing is changed by this", action="Name at least one of criteria, constraints, budget, …")
    expected = (if_match or "").strip().removeprefix("W/").strip('"')
    await here.store.amend(goal, body, expected="" if expected == "*" else expected, key=key or "")
    shown = await here.store.goal(goal)
    response.headers["ETag"] = f'"{tag_of(shown)}"'
    return goal_view(shown, here.model)


@router.get("/goals/{goal}/contracts", response_model=ContractPage)
async def contracts(here: Here, goal: str) -> ContractPage:
    """The contract's revisions, oldest first."""
    return ContractPage(items=await here.store.contracts(goal))


@router.post("/goals/{goal}/accept", response_model=CommandView)
async def accept(here: Here, goal: str, body: Accept | None = None, key: Key = None) -> Response:
    """A person completes the goal as it is: outcome `accepted`, its gaps stay named in the report."""
    command = await here.store.accept(goal, reason=(body or Accept()).reason, key=key or "")
    response = reply(goal, command)
    response.status_code = 200
    return response


@router.post("/goals/{goal}/fork", status_code=201, response_model=GoalView)
async def fork(here: Here, goal: str, body: Fork, response: Response, key: Key = None) -> GoalView:
    """A new goal that begins with the files of one of this goal's rounds, with changes."""
    check_commands(here, body.criteria or ())
    source = await here.store.goal(goal)
    rounds = [await here.store.round(goal, number) for number in range(1, source.round + 1)]
    number = _last_verified(rounds) if body.round is None else body.round
    verdict = rounds[number - 1].verdict if 0 < number <= len(rounds) else None
    if number and (verdict is None or not verdict.tree):
        raise Conflict(
            f"round {number} of this goal has not been verified, so there are no files to begin with",
            action=f"Fork from one of the rounds 0 to {_last_verified(rounds)}.",
        )
    try:
        contract = amend(source.contract, body)
    except ValueError as error:
        raise InvalidField(str(error)) from error
    parent = Parent(
        goal=goal,
        round=number,
        base=verdict.tree if verdict else source.imported,
        imported=source.imported,
        commits=source.commits,
        contract=contract.model_copy(update={"revision": 1}),
        history=tuple(_told(record) for record in rounds[:number][-HISTORY:]),
    )
    submission = Submission(
        objective=source.contract.objective,
        criteria=list(contract.criteria),
        inputs=list(source.inputs),
        budget=body.budget or source.budget,
        models=body.models or source.models,
        policy=body.policy or source.policy,
        labels=source.labels if body.labels is None else body.labels,
        stragglers=source.stragglers,
        start_at=body.start_at,
    )
    return await _submitted(here, submission, parent, response, key, request=f"fork {goal} {body.model_dump_json()}")


@router.post("/goals/{goal}/replay", status_code=201, response_model=GoalView)
async def replay(here: Here, goal: str, response: Response, key: Key = None) -> GoalView:
    """A new goal that goes through this one's recorded answers again, at no cost, by the code there is now.

    No model and no tool is called; hand-ins are reviewed, files merged, checks executed and decisions made anew.
    """
    source = await here.store.goal(goal)
    if source.parent.get("replay"):
        raise Conflict("this goal is a replay itself", action=f"Replay {source.parent['goal']} instead.")
    first: Contract = (await here.store.contracts(goal))[0]
    parent = Parent(goal=goal, replay=True, base=source.imported, imported=source.imported, contract=first)
    submission = Submission(
        objective=source.contract.objective,
        criteria=list(first.criteria),
        inputs=list(source.inputs),
        budget=source.budget,
        models=Models(planner=REPLAY, subagent=REPLAY, verifier=REPLAY, panel=(REPLAY,) * len(source.models.panel)),
        policy=source.policy,
        labels={**source.labels, "replay_of": goal},
    )
    return await _submitted(here, submission, parent, response, key, request=f"replay {goal}")


async def _submitted(
    here: State, submission: Submission, parent: Parent, response: Response, key: str | None, *, request: str
) -> GoalView:
    hashed = hashlib.sha256(request.encode()).hexdigest()
    goal, new = await here.store.submit(submission, key=key, request=hashed, parent=parent)
    if new and submission.start_at is None:
        await here.publish(JobRef.of(goal, 1, "plan"))
    if not new:
        response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = f"/v1/goals/{goal}"
    shown: Goal = await here.store.goal(goal)
    return goal_view(shown, here.model)


def _last_verified(rounds: list[RoundRecord]) -> int:
    return max((record.number for record in rounds if record.verdict and record.verdict.tree), default=0)


def _told(record: RoundRecord) -> dict[str, Any]:
    """What the planner of a fork hears of a round before it."""
    verdict = record.verdict
    return {
        "round": record.number,
        "approach": record.plan.approach[:1_000] if record.plan else "",
        "subtasks": list(record.plan.titles[:20]) if record.plan else [],
        "met": list(verdict.met) if verdict else [],
        "unmet": {f.criterion: f.why[:300] for f in verdict.findings if f.status != "met"} if verdict else {},
    }
