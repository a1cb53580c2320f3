"""Submit, list, show, pause, resume and cancel goals."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from api.state import Here, State
from api.views import CommandView, GoalPage, GoalView, goal_view
from config.crashpoints import crash_point
from pursuit.contract import Criterion, Frozen, Wait
from pursuit.errors import InvalidField, NotFound
from pursuit.models import (
    AddBudget,
    Goal,
    JobRef,
    Submission,
)
from pursuit.state import FINAL, Status
from pursuit.store import Command

router = APIRouter(tags=["goals"])

Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]
#: goals looked through for one filtered page
SCAN_MOST = 2_000


class Pause(Frozen):
    """Why and when to pause."""

    reason: str = ""
    mode: Literal["now", "after_round"] = "now"


class Resume(Frozen):
    """Why, and with how much more budget."""

    reason: str = ""
    add_budget: AddBudget = AddBudget()


class Cancel(Frozen):
    """Why."""

    reason: str = ""


class Guide(Frozen):
    """What a person says."""

    text: Annotated[str, Field(min_length=1, max_length=10_000)]
    subtask: Annotated[str, Field(max_length=40, pattern=r"^(r[0-9]+-[0-9a-z]+)?$")] = ""


@router.post("/goals", status_code=201, response_model=GoalView)
async def submit(here: Here, submission: Submission, response: Response, key: Key = None) -> GoalView:
    """Saves a goal; 201 is answered once it is durable. The same Idempotency-Key gives the same goal."""
    check_commands(here, submission.criteria, submission.wait_for)
    if submission.after_goal:
        await _known(here, submission.after_goal)
    request = hashlib.sha256(submission.model_dump_json().encode()).hexdigest()
    crash_point("before_submit")
    goal, new = await here.store.submit(submission, key=key, request=request)
    crash_point("after_submit_before_publish")
    if new and submission.start_at is None:
        await here.publish(JobRef.of(goal, 1, "plan"))
    crash_point("after_submit_before_reply")
    if not new:
        response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = f"/v1/goals/{goal}"
    return goal_view(await here.store.goal(goal), here.model)


async def _known(here: State, goal: str) -> None:
    try:
        await here.store.goal(goal)
    except NotFound as error:
        raise InvalidField(
            str(error), errors=[{"field": "after_goal", "problem": str(error)}], action="Name a goal that is there."
        ) from error


def check_commands(here: State, criteria: Sequence[Criterion], wait: Wait | None = None) -> None:
    """A check that can't be run would block the goal for ever; better to say so at once."""
    if wait and wait.problem():
        raise InvalidField(wait.problem(), errors=[{"field": "wait_for", "problem": wait.problem()}])
    if here.settings.commands != "off":
        return
    if wait and wait.kind == "command":
        raise InvalidField(
            "commands are off on this server, so none can be waited for",
            action="Start it with PURSUIT_COMMANDS=checks, or wait for something else.",
            errors=[{"field": "wait_for", "problem": "commands are off"}],
        )
    for place, criterion in enumerate(criteria):
        if criterion.check.kind == "command":
            raise InvalidField(
                "command checks are off on this server",
                action="Start it with PURSUIT_COMMANDS=checks, or use another kind of check.",
                errors=[{"field": f"criteria.{place}.check", "problem": "command checks are off"}],
            )


@router.get("/goals", response_model=GoalPage)
async def list_goals(
    here: Here,
    status: Annotated[list[Status] | None, Query()] = None,
    label: Annotated[str | None, Query(description="key=value", pattern=r"^[^=]+=.*$")] = None,
    q: Annotated[str | None, Query(description="words of the objective", max_length=200)] = None,
    order: Literal["newest", "oldest"] = "newest",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> GoalPage:
    """Goals by time of submission, page by page."""
    found: list[Goal] = []
    scanned = 0
    while True:
        page, following = await here.store.list_goals(
            statuses=status or tuple(Status),
            limit=limit if not (label or q) else 1,
            cursor=cursor,
            oldest_first=order == "oldest",
        )
        scanned += 1
        found += [goal for goal in page if _matches(goal, label, q)]
        cursor = following
        if cursor is None or len(found) >= limit or scanned >= SCAN_MOST or not (label or q):
            return GoalPage(items=[goal_view(goal, here.model) for goal in found], next_cursor=cursor)


def _matches(goal: Goal, label: str | None, q: str | None) -> bool:
    if label:
        name, _, value = label.partition("=")
        if goal.labels.get(name) != value:
            return False
    return not q or q.lower() in goal.contract.objective.lower()


@router.get("/goals/{goal}", response_model=GoalView, responses={304: {"description": "unchanged"}})
async def show(
    here: Here,
    goal: str,
    response: Response,
    wait: Annotated[float, Query(ge=0, le=60, description="seconds to wait for a change")] = 0,
    if_none_match: Annotated[str | None, Header()] = None,
) -> GoalView | Response:
    """The goal as it stands. With `wait`, the answer comes when it changes, or the time is up."""
    known = (if_none_match or "").strip().removeprefix("W/").strip('"')
    shown = await here.store.goal(goal)
    if wait and (not known or known == tag_of(shown)):
        shown = await _changed(here, shown, wait)
    if known and known == tag_of(shown):
        return Response(status_code=304, headers={"ETag": f'"{tag_of(shown)}"'})
    response.headers["ETag"] = f'"{tag_of(shown)}"'
    return goal_view(shown, here.model)


def tag_of(goal: Goal) -> str:
    return str(goal.revision)


async def _changed(here: State, goal: Goal, wait: float) -> Goal:
    """The goal once its revision is another one, or when the time is up; a final goal changes no more."""
    deadline = time.monotonic() + wait
    first = goal.revision
    after = "$"
    while goal.revision == first and goal.status not in FINAL and not here.closing.is_set():
        left = deadline - time.monotonic()
        if left <= 0:
            break
        # short waits, so that a closing server isn't held up
        events = await here.store.follow(goal.id, after, wait=min(left, 1.0))
        after = events[-1].id if events else after
        goal = await here.store.goal(goal.id)
    return goal


@router.post("/goals/{goal}/pause", status_code=202, response_model=CommandView)
async def pause(here: Here, goal: str, body: Pause | None = None, key: Key = None) -> Response:
    """Pauses now (each sub-agent parks after its current step) or after the round."""
    wish = body or Pause()
    return reply(goal, await here.store.pause(goal, mode=wish.mode, reason=wish.reason[:500], key=key or ""))


@router.post("/goals/{goal}/resume", status_code=202, response_model=CommandView)
async def resume(here: Here, goal: str, body: Resume | None = None, key: Key = None) -> Response:
    """Takes a paused or blocked goal up again, if asked with more budget."""
    wish = body or Resume()
    return reply(goal, await here.store.resume(goal, reason=wish.reason[:500], add=wish.add_budget, key=key or ""))


@router.post("/goals/{goal}/cancel", status_code=202, response_model=CommandView)
async def cancel(here: Here, goal: str, body: Cancel | None = None, key: Key = None) -> Response:
    """Ends the goal; needs no worker, and nothing is recorded afterwards."""
    wish = body or Cancel()
    return reply(goal, await here.store.cancel(goal, reason=wish.reason[:500], key=key or ""))


@router.post("/goals/{goal}/guidance", status_code=202, response_model=CommandView)
async def guide(here: Here, goal: str, body: Guide, key: Key = None) -> Response:
    """A person's words to the goal (the next plan and all running sub-agents) or to one sub-agent."""
    return reply(goal, await here.store.guide(goal, body.text, subtask=body.subtask, key=key or ""))


def reply(goal: str, command: Command) -> Response:
    """202 when something changed, 200 when it was so already."""
    crash_point("after_command_before_reply")
    view = CommandView(id=goal, status=command.status, changed=command.changed)
    return JSONResponse(view.model_dump(), status_code=202 if command.changed else 200)
