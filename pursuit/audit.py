"""Holds a goal's log against the invariants of the design, without touching anything. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from pursuit.contract import Frozen
from pursuit.models import Event
from pursuit.state import FINAL


class Problem(Frozen):
    """An invariant that doesn't hold, and how that shows."""

    invariant: str
    text: str
    repaired: bool = False


def audit_log(events: Sequence[Event]) -> list[Problem]:
    """What is wrong in a whole log: I1, I2, I3, I7, I9. After a rollback of Redis it is the log that is left."""
    found = [Problem(invariant=name, text=text) for name, text in (*_numbers(events), *_rounds(events), *_end(events))]
    ended = Counter(e.data["subtask"] for e in events if e.type == "subtask.finished")
    found += [Problem(invariant="I1", text=f"{job} was recorded {n} times") for job, n in ended.items() if n > 1]
    return found


def audit_results(wanted: Mapping[str, str], results: Mapping[str, str]) -> list[Problem]:
    """I10: every subtask of a verified round, by its state, has its result."""
    return [
        Problem(invariant="I10", text=f"{job} is {state} and has no result")
        for job, state in wanted.items()
        if job not in results
    ]


def _numbers(events: Sequence[Event]) -> list[tuple[str, str]]:
    """A log that has been trimmed begins later, but has no gap."""
    first = events[0].seq if events else 1
    for place, event in enumerate(events):
        if event.seq != first + place:
            return [("I9", f"event {event.seq} follows event {first + place - 1}")]
    return []


def _rounds(events: Sequence[Event]) -> list[tuple[str, str]]:
    found = []
    for invariant, kind in (("I3", "round.planned"), ("I2", "round.verified")):
        numbers = [e.data["round"] for e in events if e.type == kind]
        for before, after in pairwise(numbers):
            if after != before + 1:
                found.append((invariant, f"{kind}: round {after} follows round {before}"))
    return found


def _end(events: Sequence[Event]) -> list[tuple[str, str]]:
    ends = [place for place, e in enumerate(events) if e.type == "goal.status" and e.data.get("to") in FINAL]
    if ends and ends[0] != len(events) - 1:
        return [("I7", f"{events[ends[0] + 1].type} was recorded after the end")]
    return []
