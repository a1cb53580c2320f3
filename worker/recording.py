"""What a recorded goal's models answered and its tools brought, for a goal that replays it at no cost.

Everything else is done anew by the code there is now: hand-ins are reviewed, layers merged, checks executed, decisions
made. So a replay that decides otherwise shows what a change of the code has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pursuit.blobs import Blobs
from pursuit.contract import Contract
from pursuit.errors import NotFound
from pursuit.models import Entry, Evidence, Goal, JobRef, Verdict
from pursuit.store import Store
from worker.llm.model import Answer
from worker.roles.conversation import PART, results_after


class Ended(Exception):
    """The recording has nothing more to say."""


@dataclass(frozen=True)
class Recording:
    """One conversation: answers in their order, each with the results of its calls."""

    answers: tuple[Answer, ...]
    results: tuple[dict[str, Entry], ...]

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Recording:
        places = [place for place, entry in enumerate(entries) if entry.kind == "answer"]
        return cls(
            answers=tuple(Answer.model_validate(entries[place].body) for place in places),
            results=tuple(results_after(entries, place) for place in places),
        )

    def answer(self, turn: int) -> Answer:
        """The answer of a turn, counted from 0. Raises Ended."""
        if turn >= len(self.answers):
            raise Ended(f"the recording ends after {len(self.answers)} answers")
        return self.answers[turn]

    def result(self, turn: int, call: str) -> Entry | None:
        """What a call brought; None for one that ended the conversation."""
        return self.results[turn].get(call) if turn < len(self.results) else None


async def recording_of(store: Store, blobs: Blobs, goal: Goal, ref: JobRef, part: str = "") -> Recording | None:
    """What was recorded of the same job in the goal that this one replays; None for a goal that replays nothing.

    Raises Ended where the recorded goal never came to this job.
    """
    source = replayed(goal)
    if not source:
        return None
    job = JobRef(goal=source, job=ref.job)
    try:
        blob = await store.transcript_of(job)
        if blob is None:
            raise Ended(f"{source} has no ended job {ref.job}: the recording ends here")
        text = await asyncio.to_thread(blobs.text, blob)
    except (NotFound, KeyError) as error:
        raise Ended(f"the recording of {source} can't be read any more: {error}") from error
    entries = [Entry.model_validate_json(line) for line in text.splitlines()]
    return Recording.of(_part(entries, part))


def replayed(goal: Goal) -> str:
    """The goal whose answers this one replays, or ''."""
    return str(goal.parent.get("goal", "")) if goal.parent.get("replay") else ""


def _part(entries: list[Entry], part: str) -> list[Entry]:
    """The conversation of the same judge: a part's name says which, and on which files, which may be others now."""
    if not part:
        return entries
    marks = [place for place, e in enumerate(entries) if e.kind == "notice" and e.body["name"] == PART]
    number = part.split(" of ")[0]
    for place, end in zip(marks, [*marks[1:], len(entries)], strict=True):
        if entries[place].body["part"].split(" of ")[0] == number:
            return entries[place:end]
    return []


async def verdict_of(store: Store, goal: Goal) -> tuple[Contract | None, dict[str, Evidence]]:
    """The contract under which the recorded round was verified, and what its checks of the outside world brought."""
    source = replayed(goal)
    if not source:
        return None, {}
    try:
        record = await store.round(source, goal.round)
        contracts = {c.revision: c for c in await store.contracts(source)}
    except NotFound:
        return None, {}
    verdict: Verdict | None = record.verdict
    if verdict is None:
        return None, {}
    outside = {e.criterion: e for e in verdict.evidence if e.kind in ("http", "human")}
    return contracts.get(verdict.revision), outside
