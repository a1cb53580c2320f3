"""What the API answers: the store's models as people and programs read them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from pursuit import describe
from pursuit.models import Artifact, Budget, Event, Goal, Job, Models, Policy, Question, RoundRecord, Tally, Usage
from pursuit.state import JobState, commands_for


class CriterionView(BaseModel):
    """A criterion with what the last verification found."""

    id: str
    text: str
    check: dict[str, Any]
    status: str
    why: str


class GoalView(BaseModel):
    """A goal as it stands."""

    id: str
    objective: str
    status: str
    reason: str | None
    detail: str
    now: str
    wish: str
    round: int
    phase: str
    revision: int
    contract_revision: int
    criteria: list[CriterionView]
    constraints: list[str]
    subtasks: Tally
    budget: Budget
    models: Models
    policy: Policy
    usage: Usage
    #: when a waiting goal goes on by itself
    wake_at: datetime | None
    labels: dict[str, str]
    model: str
    commands: list[str]
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]


class GoalPage(BaseModel):
    items: list[GoalView]
    next_cursor: str | None


class CommandView(BaseModel):
    """What a command came to."""

    id: str
    status: str
    changed: bool


class SubtaskView(BaseModel):
    """A sub-agent as it stands."""

    id: str
    round: int
    title: str
    state: str
    outcome: str | None
    attempt: int
    steps: int
    tokens: int
    usd: float
    #: waits until its provider takes calls again: for so many seconds more, and why
    limited_seconds: float
    limited_why: str
    note: str
    answer: str
    started_at: datetime | None
    ended_at: datetime | None


class SubtaskDetail(SubtaskView):
    brief: dict[str, Any] | None
    digest: dict[str, Any] | None


class SubtaskPage(BaseModel):
    items: list[SubtaskView]
    next_cursor: str | None


class StepView(BaseModel):
    """One journal entry: a model's answer or a tool's result."""

    index: int
    kind: str
    body: dict[str, Any]


class StepPage(BaseModel):
    items: list[StepView]
    next_cursor: str | None


class EventPage(BaseModel):
    items: list[Event]
    next_cursor: str | None


class RoundPage(BaseModel):
    items: list[RoundRecord]
    next_cursor: None = None


class ArtifactPage(BaseModel):
    items: list[Artifact]
    next_cursor: None = None


class InboxPage(BaseModel):
    items: list[Question]
    next_cursor: None = None


def goal_view(goal: Goal, model: str) -> GoalView:
    findings = {f.criterion: f for f in goal.findings}
    base = f"/v1/goals/{goal.id}"
    return GoalView(
        id=goal.id,
        objective=goal.contract.objective,
        status=goal.status,
        reason=goal.reason,
        detail=goal.detail,
        now=describe.now(goal),
        wish=goal.wish,
        round=goal.round,
        phase=goal.phase,
        revision=goal.revision,
        contract_revision=goal.contract.revision,
        criteria=[
            CriterionView(
                id=name,
                text=criterion.text,
                check=criterion.check.model_dump(exclude_none=True),
                status=findings[name].status if name in findings else "not_verified",
                why=findings[name].why if name in findings else "",
            )
            for name, criterion in zip(goal.contract.criterion_ids(), goal.contract.criteria, strict=True)
        ],
        constraints=list(goal.contract.constraints),
        subtasks=goal.tally,
        budget=goal.budget,
        models=goal.models,
        policy=goal.policy,
        usage=goal.usage,
        wake_at=goal.wake_at,
        labels=goal.labels,
        model=model,
        commands=commands_for(goal.status),
        created_at=goal.created_at,
        updated_at=goal.updated_at,
        started_at=goal.started_at,
        finished_at=goal.finished_at,
        links={
            "self": base,
            **{name: f"{base}/{name}" for name in ("events", "rounds", "subtasks", "artifacts", "report")},
        },
    )


def subtask_view(job: Job, round_number: int, title: str, digest: dict[str, Any] | None) -> SubtaskView:
    left = max(0.0, round(job.limited / 1000 - time.time(), 1)) if job.state is JobState.LEASED else 0.0
    return SubtaskView(
        id=job.id,
        round=round_number,
        title=title,
        state="rate_limited" if left else job.state,
        outcome=digest["outcome"] if digest else None,
        attempt=job.attempt,
        steps=job.steps,
        tokens=job.tokens,
        usd=job.micros / 1_000_000,
        limited_seconds=left,
        limited_why=job.limit if left else "",
        note=job.note,
        answer=digest["answer"] if digest else "",
        started_at=_time(job.started),
        ended_at=_time(job.ended),
    )


def _time(ms: int) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if ms else None
