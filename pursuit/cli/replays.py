"""Runs a replay of a goal to its end and holds its decisions against the recorded ones."""

from __future__ import annotations

import time
from typing import Any

from pursuit.client import Client

ENDED = ("completed", "cancelled")


def run(client: Client, goal: str, timeout: float) -> str:
    """Replays a goal; returns the replay's id when it has decided as many rounds as were recorded, or can't go on.

    Where the recorded goal was blocked and a person took it up again, so is the replay.
    """
    wanted = sum(record["decision"] is not None for record in client.rounds(goal)["items"])
    again = str(client.replay(goal)["id"])
    deadline, resumed = time.monotonic() + timeout, -1
    while time.monotonic() < deadline:
        shown = client.goal(again, wait=2)
        decided = sum(record["decision"] is not None for record in client.rounds(again)["items"])
        if shown["status"] in ENDED or (decided >= wanted and shown["status"] != "running"):
            break
        if decided >= wanted:
            client.cancel(again, reason="all that was recorded has been replayed")
        elif shown["status"] == "blocked":
            if decided == resumed:
                break  # it was taken up already and came no further
            resumed = decided
            asked = [question for question in client.inbox() if question["goal"] == again]
            for question in asked:
                client.answer(question["id"], "as recorded")
            if not asked:
                client.resume(again, reason="as the recorded goal was")
    return again


def compare(client: Client, goal: str, again: str) -> list[dict[str, Any]]:
    """The decisions of both, round by round."""
    recorded, replayed = (client.rounds(name)["items"] for name in (goal, again))
    rows = []
    for place, record in enumerate(recorded):
        if record["decision"] is None:
            continue
        one = _decision(record)
        two = _decision(replayed[place]) if place < len(replayed) else "not reached"
        rows.append({"round": record["number"], "recorded": one, "replayed": two, "same": one == two})
    return rows


def _decision(record: dict[str, Any]) -> str:
    decision = record["decision"]
    if decision is None:
        return "not verified"
    met = [f["criterion"] for f in record["verdict"]["findings"] if f["status"] == "met"]
    reason = f" ({decision['reason']})" if decision.get("reason") else ""
    return f"{decision['kind']}{reason}, met: {', '.join(met) or 'none'}"
