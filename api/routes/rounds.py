"""Rounds, sub-agents and their steps."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from api.state import Here, State
from api.views import (
    RoundPage,
    StepPage,
    StepView,
    SubtaskDetail,
    SubtaskPage,
    SubtaskView,
    subtask_view,
)
from pursuit.errors import InvalidRequest, NotFound
from pursuit.models import Entry, JobRef, PlannedRound, RoundRecord
from pursuit.state import JobKind, JobState

router = APIRouter(tags=["rounds"])
_JOB = re.compile(r"r[1-9]\d{0,4}-(\d{3}|plan|verify)")


@router.get("/goals/{goal}/rounds", response_model=RoundPage)
async def list_rounds(here: Here, goal: str) -> RoundPage:
    """All rounds: plan, subtasks by state, verdict, decision."""
    shown = await here.store.goal(goal)
    return RoundPage(items=[await here.store.round(goal, n) for n in range(1, shown.round + 1)])


@router.get("/goals/{goal}/rounds/{number}", response_model=RoundRecord)
async def show_round(here: Here, goal: str, number: int) -> RoundRecord:
    """One round."""
    await here.store.goal(goal)
    return await here.store.round(goal, number)


@router.get("/goals/{goal}/subtasks", response_model=SubtaskPage)
async def list_subtasks(
    here: Here,
    goal: str,
    state: Annotated[list[JobState | Literal["rate_limited"]] | None, Query()] = None,
    round_number: Annotated[int | None, Query(alias="round", ge=1)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(description="id of the last subtask seen", max_length=20)] = None,
) -> SubtaskPage:
    """Sub-agents, in the order of their rounds."""
    shown = await here.store.goal(goal)
    after = (JobRef(goal=goal, job=_checked(cursor)).round, cursor) if cursor else (0, "")
    found: list[SubtaskView] = []
    for number in [round_number] if round_number else range(max(1, after[0]), shown.round + 1):
        for view in await _round_of_subtasks(here, goal, number):
            if (view.round, view.id) > after and (not state or view.state in state):
                found.append(view)
        if len(found) > limit:
            break
    return SubtaskPage(items=found[:limit], next_cursor=found[limit - 1].id if len(found) > limit else None)


async def _round_of_subtasks(here: State, goal: str, number: int) -> list[SubtaskView]:
    jobs, results = await asyncio.gather(here.store.jobs(goal, number), here.store.results(goal, number))
    titles = _titles(results.get(f"r{number}-plan"))
    subtasks = [job for job in jobs.values() if job.kind is JobKind.SUBTASK]
    return [
        subtask_view(
            job,
            number,
            titles[place] if place < len(titles) else "",
            json.loads(results[job.id]) if job.id in results else None,
        )
        for place, job in enumerate(subtasks)
    ]


def _titles(plan: str | None) -> tuple[str, ...]:
    return PlannedRound.model_validate_json(plan).titles if plan else ()


@router.get("/goals/{goal}/subtasks/{sid}", response_model=SubtaskDetail)
async def show_subtask(here: Here, goal: str, sid: str) -> SubtaskDetail:
    """One sub-agent with its brief and digest; also `r<n>-plan` and `r<n>-verify`."""
    ref = JobRef(goal=goal, job=_checked(sid))
    await here.store.goal(goal)
    job = await here.store.job(ref)
    briefs, results = await asyncio.gather(here.store.briefs(goal, ref.round), here.store.results(goal, ref.round))
    brief = json.loads(briefs[sid]) if sid in briefs else None
    result: dict[str, Any] | None = json.loads(results[sid]) if sid in results else None
    plain = ref.kind is JobKind.SUBTASK
    view = subtask_view(job, ref.round, brief["title"] if brief else ref.name, result if plain else None)
    return SubtaskDetail(**view.model_dump(), brief=brief, digest=result)


@router.get("/goals/{goal}/subtasks/{sid}/steps", response_model=StepPage)
async def list_steps(
    here: Here,
    goal: str,
    sid: str,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[int, Query(ge=0, description="index of the first entry")] = 0,
) -> StepPage:
    """What a sub-agent has done so far: the model's answers and the tools' results, in order."""
    ref = JobRef(goal=goal, job=_checked(sid))
    await here.store.goal(goal)
    await here.store.job(ref)
    entries = await _entries(here, ref)
    page = entries[cursor : cursor + limit]
    items = [StepView(index=cursor + place, kind=e.kind, body=e.body) for place, e in enumerate(page)]
    more = cursor + limit < len(entries)
    return StepPage(items=items, next_cursor=str(cursor + limit) if more else None)


async def _entries(here: State, ref: JobRef) -> list[Entry]:
    transcript = await here.store.transcript_of(ref)
    if transcript is None:
        return await here.store.journal_of(ref)
    try:
        text = await asyncio.to_thread(here.blobs.text, transcript)
    except KeyError as error:
        raise NotFound(
            f"the transcript of {ref.job} isn't in this server's blob folder",
            action="Let API and workers share PURSUIT_DATA, or at least its blobs.",
        ) from error
    return [Entry.model_validate_json(line) for line in text.splitlines()]


def _checked(sid: str) -> str:
    if not _JOB.fullmatch(sid):
        raise InvalidRequest(f"{sid[:60]!r} is no subtask id", action="Subtask ids look like r2-017.")
    return sid
