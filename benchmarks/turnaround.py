"""From a round's last digest to the next round's first subtask: verification, decision, plan, chord, pick-up.

Read from the event logs of goals with 300-wide rounds on real workers; the policy thinks for no time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from benchmarks.house import running

GOALS = 10


def main() -> None:
    with running() as house:
        house.until(house.submit("Warm up", inputs=[house.items(20)]))
        first, last = [], []
        for number in range(GOALS):
            goal = house.submit(f"Turn {number}", inputs=[house.items(300)])
            house.until(goal, seconds=120)
            events = house.events(goal)
            first.append(_between(events))
            last.append(_fan_out(events))
    first.sort()
    last.sort()
    print(
        f"last digest -> next round's first subtask   median {first[GOALS // 2] * 1000:6.0f} ms   "
        f"slowest of {GOALS} {first[-1] * 1000:6.0f} ms   (target p95 <= 250)"
    )
    print(
        f"round planned -> 300th subtask started       median {last[GOALS // 2] * 1000:6.0f} ms   "
        f"slowest of {GOALS} {last[-1] * 1000:6.0f} ms"
    )


def _at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


def _between(events: list[dict[str, Any]]) -> float:
    ended = max(_at(e) for e in events if e["type"] == "subtask.finished" and e["data"]["subtask"].startswith("r1-"))
    begun = min(_at(e) for e in events if e["type"] == "subtask.started" and e["data"]["subtask"].startswith("r2-"))
    return begun - ended


def _fan_out(events: list[dict[str, Any]]) -> float:
    planned = next(_at(e) for e in events if e["type"] == "round.planned")
    started = [_at(e) for e in events if e["type"] == "subtask.started" and e["data"]["subtask"].startswith("r1-")]
    return max(started) - planned
