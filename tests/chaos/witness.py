"""What the chaos tests ask of every goal, whatever was done to it."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from tests.house import House, audit_events
from tests.scripted import Call, ScriptedModel


class Calls:
    """Counts the model calls of one goal, a distinct one for each turn of each job."""

    def __init__(self, model: ScriptedModel, marker: str) -> None:
        self.counted: Counter[str] = Counter()
        self._lock = threading.Lock()
        model.on(marker, self)

    def __call__(self, call: Call) -> None:
        with self._lock:
            self.counted[f"{call.text} turn {call.turn}"] += 1

    @property
    def repeated(self) -> int:
        return sum(times - 1 for times in self.counted.values())


def completed(house: House, goal: str, calls: Calls | None = None, *, seconds: float = 60) -> list[dict[str, Any]]:
    """The goal comes to its end; the invariants hold; a call is repeated only where its worker was lost. Its events."""
    shown = house.until(goal, seconds=seconds)
    events = house.events(goal)
    audit_events(events)
    house.audit(goal)
    if calls:
        assert shown["usage"]["steps"] == len(calls.counted), "each distinct step counts once"
        assert calls.repeated <= sum(event["type"] in ("job.lost", "gap") for event in events)
    return events


def count(events: list[dict[str, Any]], kind: str) -> int:
    return sum(event["type"] == kind for event in events)
