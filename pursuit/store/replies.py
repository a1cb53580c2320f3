"""What the store's methods answer, and how Redis hashes become models."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pursuit.contract import Contract, Frozen, Wait, numbered, unspecified
from pursuit.models import (
    Budget,
    Event,
    Evidence,
    Finding,
    Goal,
    Guidance,
    Input,
    Items,
    JobRef,
    Models,
    Policy,
    Question,
    Stragglers,
    Streak,
    Submission,
    Tally,
    Usage,
)


class Start(StrEnum):
    """Whether a job may be run by who asked."""

    RUN = "RUN"
    BUSY = "BUSY"
    DONE = "DONE"
    HOLD = "HOLD"
    GONE = "GONE"
    DEAD = "DEAD"


class Fence(StrEnum):
    """Whether an attempt still owns its job."""

    KEPT = "KEPT"
    HAVE = "HAVE"
    LOST = "LOST"
    GAP = "GAP"
    GONE = "GONE"


class Attempt(Frozen):
    """One try at a job by one worker, fenced by a nonce."""

    ref: JobRef
    nonce: str
    number: int
    journal_length: int
    brief: str
    #: seconds that earlier attempts have worked on the job
    active: float = 0.0


#: said of a budget that others' calls in flight may or may not use up
HELD = "held"


class Beat(Frozen):
    """What a heartbeat or a journal entry comes back with."""

    fence: Fence
    wish: str = ""
    used_steps: int = 0
    guided: int = 0
    #: the part of the budget that allows no further call, HELD while others' calls may still take it, or ''
    over: str = ""
    #: the round has its quorum and waits for this job
    hurried: bool = False


class Wishes(Frozen):
    """What people want of a goal, and whether it is over."""

    over: bool
    wish: str = ""
    guided: int = 0


class Finished(Frozen):
    """What recording a result came to."""

    verdict: str
    verify: JobRef | None = None
    status: str = ""

    @property
    def recorded(self) -> bool:
        return self.verdict in ("FIRST", "DUP")


class Swept(Frozen):
    """A job that must be published now."""

    publish: tuple[JobRef, ...] = ()
    buried: tuple[JobRef, ...] = ()


class Command(Frozen):
    """What a person's command came to: `changed`, or it was so already."""

    changed: bool
    status: str


def when(ms: str | int | float | None) -> datetime | None:
    return datetime.fromtimestamp(float(ms) / 1000, UTC) if ms not in (None, "") else None


class Parent(Frozen):
    """Where a goal comes from: forked from a round of another, or a replay of its answers."""

    goal: str
    round: int = 0
    replay: bool = False
    #: the blobs that list the files to begin with, and the copies of inputs among them as they were
    base: str = ""
    imported: str = ""
    commits: dict[str, str] = {}  # noqa: RUF012  pydantic copies it
    contract: Contract | None = None
    #: what the planner sees of the rounds before the fork
    history: tuple[dict[str, Any], ...] = ()


def new_fields(goal: str, submission: Submission, retention_seconds: int, parent: Parent | None = None) -> list[str]:
    """A submission as the flat fields and values of the goal's hash."""
    budget, late = submission.budget, submission.stragglers
    wait = submission.wait_for
    if submission.after_goal:
        wait = Wait(kind="goal", goal=submission.after_goal, seconds=5, most_seconds=604_800)
    fields: dict[str, Any] = {
        "id": goal,
        "objective": submission.objective,
        "contract": first_contract(submission).model_dump_json(),
        "inputs": json.dumps([item.model_dump() for item in submission.inputs]),
        "labels": json.dumps(submission.labels),
        "models": submission.models.model_dump_json(),
        "policy": submission.policy.model_dump_json(),
        "retention": retention_seconds,
        "quorum": late.quorum,
        "straggler_factor": late.factor,
        "straggler_least": late.least_seconds * 1000,
        "straggler_then": late.then,
    }
    if wait:
        fields["wait"] = wait.model_copy(update={"by": "person"}).model_dump_json()
    if parent:
        fields["parent"] = parent.model_dump_json(exclude={"base", "imported", "commits", "contract"})
        fields |= {"base": parent.base, "imported": parent.imported, "commits": json.dumps(parent.commits)}
        if parent.contract:
            fields["contract"] = parent.contract.model_dump_json()
    fields |= budget_fields(budget.model_dump(exclude_none=True))
    return [str(word) for pair in fields.items() for word in pair]


def budget_fields(parts: dict[str, Any]) -> dict[str, int]:
    """Parts of a budget as Redis keeps them: whole numbers, money in millionths of a dollar."""
    kept = {f"budget_{part}": int(limit) for part, limit in parts.items() if part != "usd"}
    return kept | ({"budget_micros": round(parts["usd"] * 1_000_000)} if "usd" in parts else {})


def _budget(whole: dict[str, int]) -> Budget:
    parts: dict[str, Any] = {n.removeprefix("budget_"): v for n, v in whole.items() if n.startswith("budget_")}
    if "micros" in parts:
        parts["usd"] = parts.pop("micros") / 1_000_000
    return Budget(**parts)


def first_contract(submission: Submission) -> Contract:
    """Revision 1. A goal without criteria has one, until its planner has drafted some: that its objective is met."""
    if not submission.criteria:
        return unspecified(submission.objective, submission.constraints, submission.boundaries)
    criteria = numbered([c.model_copy(update={"id": ""}) for c in submission.criteria])
    return Contract(
        revision=1,
        objective=submission.objective,
        criteria=criteria,
        constraints=tuple(submission.constraints),
        boundaries=tuple(submission.boundaries),
        highest=len(criteria),
    )


def goal_of(fields: dict[str, str], open_jobs: int, now: int) -> Goal:
    """The goal that a hash of Redis holds."""
    number = int(fields["round"])
    whole = {name: int(value) for name, value in fields.items() if name.startswith(("used_", "budget_"))}
    return Goal.model_validate(
        {
            "id": fields["id"],
            "version": int(fields["v"]),
            "status": fields["status"],
            "reason": fields.get("reason") or None,
            "detail": fields.get("detail", ""),
            "wish": fields["wish"],
            "epoch": int(fields["epoch"]),
            "round": number,
            "phase": fields["phase"],
            "revision": int(fields["revision"]),
            "seq": int(fields["seq"]),
            "contract": Contract.model_validate_json(fields["contract"]),
            "inputs": [Input.model_validate(item) for item in json.loads(fields["inputs"])],
            "budget": _budget(whole),
            "models": Models.model_validate_json(fields.get("models") or "{}"),
            "policy": Policy.model_validate_json(fields.get("policy") or "{}"),
            "usage": _usage(fields, whole, number, now),
            "labels": json.loads(fields["labels"]),
            "streak": Streak.model_validate_json(fields.get("streak") or "{}"),
            "findings": [Finding.model_validate(item) for item in json.loads(fields.get("findings") or "[]")],
            "evidence": [Evidence.model_validate(item) for item in json.loads(fields.get("evidence") or "[]")],
            "state": fields.get("state", ""),
            "base": fields.get("base", ""),
            "imported": fields.get("imported", ""),
            "commits": json.loads(fields.get("commits") or "{}"),
            "wait": Wait.model_validate_json(fields["wait"]) if fields.get("wait") else None,
            "wait_since": when(fields.get("wait_since")),
            "waits": int(fields.get("waits", 0)),
            "items": Items(total=int(fields.get("items_total", 0)), closed=int(fields.get("items_closed", 0))),
            "stragglers": _stragglers(fields),
            "parent": json.loads(fields.get("parent") or "{}"),
            "generation": int(fields.get("generation", 0)),
            "compacted": int(fields.get("compacted", 0)),
            "wake_at": when(fields.get("wake_at")) if fields["status"] == "waiting" else None,
            "warned": fields.get("warned", ""),
            "closing": fields.get("closing", ""),
            "tally": _tally(fields, number, open_jobs),
            "created_at": when(fields["created_at"]),
            "updated_at": when(fields["updated_at"]),
            "started_at": when(fields.get("started_at")),
            "finished_at": when(fields.get("finished_at")),
        }
    )


def _stragglers(fields: dict[str, str]) -> Stragglers:
    if "quorum" not in fields:
        return Stragglers()
    return Stragglers(
        quorum=float(fields["quorum"]),
        factor=float(fields["straggler_factor"]),
        least_seconds=int(fields["straggler_least"]) // 1000,
        then="hedge" if fields["straggler_then"] == "hedge" else "cut",
    )


def _usage(fields: dict[str, str], whole: dict[str, int], number: int, now: int) -> Usage:
    seconds = whole.get("used_ms", 0) / 1000
    if fields["status"] == "running" and "running_since" in fields:
        seconds += max(0, now - int(fields["running_since"])) / 1000
    return Usage(
        rounds=number,
        steps=whole.get("used_steps", 0),
        subagents=whole.get("used_subagents", 0),
        tokens_in=whole.get("used_tokens_in", 0),
        tokens_out=whole.get("used_tokens_out", 0),
        tokens_cached=whole.get("used_tokens_cached", 0),
        usd=whole.get("used_micros", 0) / 1_000_000,
        seconds=round(seconds, 3),
    )


def _tally(fields: dict[str, str], number: int, open_jobs: int) -> Tally:
    return Tally(
        total=int(fields.get(f"total:{number}", 0)),
        open=open_jobs,
        running=int(fields.get("leased", 0)),
        parked=int(fields.get("parked", 0)),
    )


def event_of(stream_id: str, fields: dict[str, str]) -> Event:
    return Event.model_validate(
        {
            "id": stream_id,
            "seq": int(fields["seq"]),
            "type": fields["type"],
            "at": when(fields["at"]),
            "actor": fields["actor"],
            "data": json.loads(fields["data"]),
        }
    )


def guidance_of(text: str) -> Guidance:
    kept = json.loads(text)
    return Guidance(
        text=kept["text"], subtask=kept.get("subtask") or "", at=when(kept["at"]), amended=kept.get("amended") or 0
    )


def question_of(goal: str, text: str) -> Question:
    kept = json.loads(text)
    return Question.model_validate(
        {
            "id": kept["question"],
            "kind": kept.get("kind") or "question",
            "goal": goal,
            "job": kept["job"],
            "text": kept["text"],
            "options": kept.get("options") or (),
            "asked_at": when(kept["asked_at"]),
            "answer": kept.get("answer"),
            "answered_at": when(kept.get("answered_at")),
        }
    )
