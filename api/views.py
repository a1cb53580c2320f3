"""What the API answers: the store's models as people and programs read them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from pursuit import describe
from pursuit.contract import Contract, Criterion, Wait
from pursuit.models import (
    Artifact,
    Budget,
    Event,
    Goal,
    Items,
    Job,
    Models,
    Policy,
    Question,
    RoundRecord,
    Stragglers,
    Tally,
    Usage,
)
from pursuit.state import JobState, commands_for


class EvidenceView(BaseModel):
    """What the executed check, or the person who signs, came to; the round has the whole output."""

    passed: bool
    trouble: str
    output: str
    inputs: str
    revision: int
    at: datetime


class CriterionView(BaseModel):
    """A criterion with what the last verification found."""

    id: str
    text: str
    check: dict[str, Any]
    status: str
    why: str
    next_proof: str
    #: whether this was found for the contract and the files as they are now; only fresh `met` counts
    fresh: bool
    revision: int
    dissent: list[str]
    evidence: EvidenceView | None


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
    #: fingerprint of the files as they were last verified
    state: str
    #: who wrote the criteria: person, planner, or engine, where nobody did
    criteria_by: str
    #: what a person should know of this contract
    warnings: list[str]
    criteria: list[CriterionView]
    constraints: list[str]
    boundaries: list[str]
    notes: list[str]
    #: the goal's list: how many there are, how many are closed
    items: Items
    subtasks: Tally
    budget: Budget
    models: Models
    policy: Policy
    usage: Usage
    #: what a waiting goal waits for, since when, and when it looks again
    wait: Wait | None
    wait_since: datetime | None
    wake_at: datetime | None
    stragglers: Stragglers
    #: the goal and round it was forked from, or whose answers it replays
    parent: dict[str, Any]
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


class ContractPage(BaseModel):
    items: list[Contract]
    next_cursor: None = None


class InboxPage(BaseModel):
    items: list[Question]
    next_cursor: None = None


def goal_view(goal: Goal, model: str) -> GoalView:
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
        state=goal.state,
        criteria_by=goal.contract.author,
        warnings=goal.contract.warnings(),
        criteria=[_criterion(goal, name, criterion) for name, criterion in goal.contract.named()],
        constraints=list(goal.contract.constraints),
        boundaries=list(goal.contract.boundaries),
        notes=list(goal.contract.notes),
        items=goal.items,
        subtasks=goal.tally,
        budget=goal.budget,
        models=goal.models,
        policy=goal.policy,
        usage=goal.usage,
        wait=goal.wait,
        wait_since=goal.wait_since,
        wake_at=goal.wake_at,
        stragglers=goal.stragglers,
        parent={name: value for name, value in goal.parent.items() if name != "history"},
        labels=goal.labels,
        model=model,
        commands=commands_for(goal.status),
        created_at=goal.created_at,
        updated_at=goal.updated_at,
        started_at=goal.started_at,
        finished_at=goal.finished_at,
        links={
            "self": base,
            **{name: f"{base}/{name}" for name in ("events", "rounds", "subtasks", "artifacts", "report", "contracts")},
        },
    )


def _criterion(goal: Goal, name: str, criterion: Criterion) -> CriterionView:
    finding = next((f for f in goal.findings if f.criterion == name), None)
    evidence = next((e for e in goal.evidence if e.criterion == name), None)
    return CriterionView(
        id=name,
        text=criterion.text,
        check=criterion.check.model_dump(exclude_none=True, exclude_defaults=True) | {"kind": criterion.check.kind},
        status=finding.status if finding else "not_verified",
        why=finding.why if finding else "",
        next_proof=finding.next_proof if finding else "",
        fresh=finding is not None and finding.fresh(goal.contract.revision, goal.state),
        revision=finding.revision if finding else 0,
        dissent=list(finding.dissent) if finding else [],
        evidence=EvidenceView(**evidence.model_dump(include=set(EvidenceView.model_fields))) if evidence else None,
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
