"""A whole swarm under random kill -9: what was paid for and recorded is never paid for again."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest

from tests.chaos.conftest import MakeHouse
from tests.house import House, audit_events
from tests.scripted import Answer, Call, ScriptedModel, says
from worker.prompts import unfence

STEPS = 13


class Ledger:
    """Every call as the provider would bill it: which step of which job, from when to when."""

    def __init__(self, model: ScriptedModel, marker: str, width: int, delay: float) -> None:
        self.calls: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.width, self.delay = width, delay
        model.on(marker, self)

    async def __call__(self, call: Call) -> Answer | None:
        began, name = time.monotonic(), f"{call.text} step {call.turn}"
        try:
            await asyncio.sleep(self.delay * random.uniform(0.5, 1.5))
        finally:
            self.calls[name].append((began, time.monotonic()))
        if call.role == "plan":
            made = [{"title": f"{n}", "objective": f"count to {n}"} for n in range(1, self.width + 1)]
            return says("", ("submit_plan", {"subtasks": made}))
        if call.role == "verdict":
            asked = unfence("verification", call.text)["asked"]
            return says(
                "", ("submit_verdict", {"findings": [{"criterion": c, "status": "met", "seen": ["c1"]} for c in asked]})
            )
        if call.turn < STEPS - 1:
            return says("", ("list_files", {"pattern": f"{call.turn}*"}))
        return says("", ("submit_digest", {"outcome": "done", "answer": "counted"}))


def kill_at_random(house: House, ledger: Ledger, marks: list[int], over: threading.Event, kills: list[float]) -> None:
    """Kills one of the two workers each time that so many steps have been paid for, wherever the others are then."""
    for mark in marks:
        while len(ledger.calls) < mark:
            if over.wait(0.02):
                return
        time.sleep(random.uniform(0, 0.3))
        name = random.choice(("subagents1", "subagents2"))
        house.kill(name)
        kills.append(time.monotonic())
        house.start_worker(name)


@pytest.mark.parametrize(
    ("width", "times", "seconds"),
    [
        pytest.param(40, 4, 90, id="40"),
        pytest.param(300, 25, 450, id="300", marks=[pytest.mark.long, pytest.mark.timeout(550)]),
    ],
)
@pytest.mark.timeout(120)
def test_paid_calls_are_the_distinct_steps_exactly(
    make_house: MakeHouse, model: ScriptedModel, width: int, times: int, seconds: float
) -> None:
    # a kill every two seconds hits the same job again and again by chance; burying it is not what is asked here
    house = make_house(PURSUIT_LEASE="2.5", PURSUIT_BEAT="0.5", PURSUIT_ATTEMPTS="20")
    ledger = Ledger(model, "[ledger]", width, delay=0.25)
    # the judge, too, has to name what it rests on
    shown_by = {"text": "the counting is over", "check": {"kind": "command", "command": "true"}}
    goal = house.submit("Count [ledger]", criteria=[shown_by, {"text": "everything is counted"}])
    kills: list[float] = []
    over = threading.Event()
    marks = sorted(random.sample(range(width, width * STEPS * 9 // 10), times))
    killer = threading.Thread(target=kill_at_random, args=(house, ledger, marks, over, kills), daemon=True)
    killer.start()
    try:
        shown: dict[str, Any] = house.until(goal, "completed", "blocked", seconds=seconds)
    finally:
        over.set()
        killer.join()
    assert shown["status"] == "completed"
    events = house.events(goal)
    audit_events(events)
    house.audit(goal)
    assert len(kills) == times and any(event["type"] == "job.lost" for event in events)
    steps = shown["usage"]["steps"]
    assert len(ledger.calls) == steps == width * STEPS + 2
    # a call made twice was in flight, or its answer on the way to the journal, when a worker was killed
    again = {name: calls for name, calls in ledger.calls.items() if len(calls) > 1}
    for name, calls in again.items():
        # a killed worker stands between the two, so the first was never recorded: it was in flight, or its answer on
        # the way to the journal, which on a busy machine takes its time
        for (began, _), (again_at, _) in pairwise(sorted(calls)):
            assert any(began - 0.1 <= kill <= again_at for kill in kills), name
    assert sum(map(len, ledger.calls.values())) - sum(len(calls) - 1 for calls in again.values()) == steps
    print(f"{width} x {STEPS}: {steps} steps, {len(kills)} kills, {len(again)} calls cut in flight")
