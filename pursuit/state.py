"""Statuses, phases, job states, actors, and the table of legal transitions. Imports nothing of ours."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a goal stands. Only `completed` and `cancelled` are final; a goal never "fails"."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


FINAL = frozenset({Status.COMPLETED, Status.CANCELLED})


class Phase(StrEnum):
    """What a running goal is doing."""

    PLANNING = "planning"
    EXECUTING = "executing"
    VERIFYING = "verifying"


class Wish(StrEnum):
    """What a person wants of the goal; kept apart from its status."""

    RUN = "run"
    PAUSE = "pause"
    AFTER_ROUND = "after_round"
    CANCEL = "cancel"


class Reason(StrEnum):
    """Why a goal is queued, waiting, paused, blocked or cancelled."""

    SUBMITTED = "submitted"
    START_AT = "start_at"
    AFTER_GOAL = "after_goal"
    PERSON = "person"
    QUESTION = "question"
    APPROVAL = "approval"
    SIGN_OFF = "sign_off"
    QUOTA = "quota"
    TIMER = "timer"
    PROBE = "probe"
    BUDGET = "budget"
    STALLED = "stalled"
    REPEATED_BLOCKER = "repeated_blocker"
    IMPOSSIBLE = "impossible"
    CONFIGURATION = "configuration"
    MET = "met"
    ACCEPTED = "accepted"


class JobKind(StrEnum):
    """What a job is for."""

    PLAN = "plan"
    SUBTASK = "subtask"
    VERIFY = "verify"


class JobState(StrEnum):
    """Where a job stands. `queued`, `leased` and `parked` are unfinished."""

    QUEUED = "queued"
    LEASED = "leased"
    PARKED = "parked"
    DONE = "done"
    FAILED = "failed"
    BURIED = "buried"
    #: the round went on without it; what it still brings is read by the next one
    CUT = "cut"
    CANCELLED = "cancelled"


UNFINISHED = frozenset({JobState.QUEUED, JobState.LEASED, JobState.PARKED})


class Actor(StrEnum):
    """Who did it."""

    PERSON = "person"
    ENGINE = "engine"
    PLANNER = "planner"
    SUBAGENT = "subagent"
    VERIFIER = "verifier"


#: status -> what it may become. The scripts hold to it; a test walks every pair.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.PAUSED, Status.BLOCKED, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.WAITING, Status.PAUSED, Status.BLOCKED, Status.COMPLETED, Status.CANCELLED}),
    Status.WAITING: frozenset({Status.RUNNING, Status.PAUSED, Status.BLOCKED, Status.COMPLETED, Status.CANCELLED}),
    Status.PAUSED: frozenset({Status.QUEUED, Status.RUNNING, Status.COMPLETED, Status.CANCELLED}),
    Status.BLOCKED: frozenset({Status.RUNNING, Status.COMPLETED, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.CANCELLED: frozenset(),
}

#: person's command -> statuses in which it is legal.
COMMANDS: dict[str, frozenset[Status]] = {
    "pause": frozenset({Status.QUEUED, Status.RUNNING, Status.WAITING, Status.PAUSED}),
    "resume": frozenset(Status) - FINAL,
    "cancel": frozenset(Status) - {Status.COMPLETED},
    "amend": frozenset(Status) - FINAL,
    # a goal that hasn't begun has nothing that could be accepted
    "accept": frozenset({Status.RUNNING, Status.WAITING, Status.PAUSED, Status.BLOCKED}),
}


def commands_for(status: Status) -> list[str]:
    """The commands a person may give to a goal in this status."""
    return sorted(name for name, legal in COMMANDS.items() if status in legal)
