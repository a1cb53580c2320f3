"""What the API answers: the store's models as people and programs read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from pursuit import describe
from pursuit.models import Artifact, Budget, Event, Goal, Job, Question, RoundRecord, Tally, Usage
from pursuit.state import commands_for


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
    usage: Usage
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
        usage=goal.usage,
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
    return SubtaskView(
        id=job.id,
        round=round_number,
        title=title,
        state=job.state,
        outcome=digest["outcome"] if digest else None,
        attempt=job.attempt,
        steps=job.steps,
        tokens=job.tokens,
        note=job.note,
        answer=digest["answer"] if digest else "",
        started_at=_time(job.started),
        ended_at=_time(job.ended),
    )


def _time(ms: int) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if ms else None
