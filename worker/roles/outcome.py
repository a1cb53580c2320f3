"""What a role's work comes to: the job's result and everything that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from pursuit.models import Entry, JobRef
from pursuit.state import JobState
from pursuit.store import Follow


class Conversation(Protocol):
    """What was said in a job, for its transcript."""

    @property
    def entries(self) -> list[Entry]: ...


@dataclass(frozen=True)
class Outcome:
    """Recorded by one script, then published."""

    state: JobState
    result: str
    follow: Follow = field(default_factory=Follow)
    #: a round to publish as a chord
    fan_out: tuple[JobRef, ...] = ()
    #: a single job to publish
    next: JobRef | None = None
    #: the job to publish instead, where the contract was amended while a completion was being recorded
    otherwise: JobRef | None = None
