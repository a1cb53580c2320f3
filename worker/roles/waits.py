"""Waiting without a model: looks whether what a goal waits for has come about."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from pursuit.contract import CommandCheck, Wait
from pursuit.errors import NotFound
from pursuit.models import Goal
from pursuit.state import FINAL, Reason
from worker.files.workspace import Workspace
from worker.roles.checks import ground_of, look
from worker.runtime import Runtime
from worker.tools.page import request
from worker.tools.registry import ToolError

REASONS = {"timer": Reason.TIMER, "http": Reason.PROBE, "command": Reason.PROBE, "goal": Reason.AFTER_GOAL}
#: waits in a row, with nothing but a call of the planner in between
WAITS_MOST = 50
LOOK_SECONDS = 60


class Waiting(Exception):
    """It hasn't come about yet. `declared`: the goal doesn't know yet that it waits."""

    def __init__(self, wait: Wait, seconds: float, said: str, *, declared: bool) -> None:
        super().__init__(said)
        self.reason, self.seconds = REASONS[wait.kind], seconds
        self.declared = wait if declared else None


def begin(wait: Wait) -> Waiting:
    """A wait that begins now; the first look is taken at once, a timer runs first."""
    return Waiting(wait, wait.seconds if wait.kind == "timer" else 0.0, wait.why or describe(wait), declared=True)


async def waited(runtime: Runtime, goal: Goal, workspace: Workspace) -> str:
    """What came of the goal's wait, in words for the planner. Raises Waiting while it goes on."""
    wait = goal.wait
    if wait is None:
        return ""
    if goal.wait_since is None:
        raise begin(wait)
    name, past = wait.why or describe(wait), await runtime.store.now() - goal.wait_since
    if wait.kind == "timer":
        left = timedelta(seconds=wait.seconds) - past
        if left > timedelta(0):
            raise Waiting(wait, left.total_seconds(), name, declared=False)
        return f"waited for {name}"
    said, came = await _look(runtime, goal, wait, workspace)
    if came:
        return f"came about: {name} ({said})"
    rest = wait.most_seconds - past.total_seconds()
    if rest <= 0:
        return f"did not come about within {wait.most_seconds} seconds: {name} (last look: {said})"
    raise Waiting(wait, min(wait.seconds, rest + 1), f"{name}; last look: {said}", declared=False)


async def _look(runtime: Runtime, goal: Goal, wait: Wait, workspace: Workspace) -> tuple[str, bool]:
    if wait.kind == "http":
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                # a person may wait for their own machine, a model for public addresses only
                private = runtime.settings.fetch_private or wait.by == "person"
                response, _ = await request(wait.url, private=private)
        except (ToolError, TimeoutError) as error:
            return str(error)[:300] or "no answer in time", False
        return f"status {response.status_code}", response.status_code < 400
    if wait.kind == "command":
        check = CommandCheck(command=wait.command, timeout_seconds=LOOK_SECONDS)
        seen = await look(check, ground_of(runtime, goal, workspace))
        return seen.output[-300:], seen.passed
    try:
        other = await runtime.store.goal(wait.goal)
    except NotFound:
        return f"there is no goal {wait.goal} any more", True
    return f"{wait.goal} is {other.status}", other.status in FINAL


def describe(wait: Wait) -> str:
    """A wait in a few words."""
    match wait.kind:
        case "timer":
            return f"{wait.seconds} seconds to pass"
        case "http":
            return f"{wait.url} to answer"
        case "command":
            return f"`{wait.command[:200]}` to succeed"
        case _:
            return f"the end of {wait.goal}"


def refused(runtime: Runtime, wait: Wait) -> list[str]:
    """What is wrong with a wait that a model proposes."""
    problems = [wait.problem()] if wait.problem() else []
    if wait.kind == "command" and runtime.settings.commands != "all":
        problems.append("a wait for a command isn't possible here: this server runs no commands of models")
    return problems
