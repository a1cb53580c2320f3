"""How long after kill -9 of a worker its sub-agents go on elsewhere, with test leases and with default ones; and Redis.

From the kill to the start of each lost job's next attempt, as the goals' logs say; by the same clock, for all runs on
one machine.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from benchmarks.house import running
from tests.house import TEST_TIMES, House, eventually

KILLS_QUICK, KILLS_DEFAULT = 8, 2


def main() -> None:
    _report("test leases (2.5 s)", _kills(KILLS_QUICK, **TEST_TIMES), 5)
    _report("default leases (30 s)", _kills(KILLS_DEFAULT), 45)
    lost, back = _redis_killed()
    print(f"Redis killed and started again: {lost} of the acknowledged goals lost, workers on again after {back:.1f} s")


def _kills(count: int, **settings: str) -> list[float]:
    """Seconds until each job that a killed worker had was taken up again."""
    taken: list[float] = []
    with running(PURSUIT_REHEARSAL_SECONDS="2", **settings) as house:
        for number in range(count):
            goal = house.submit(f"Kill {number}", inputs=[house.items(60)])
            eventually(lambda goal=goal: house.goal(goal)["subtasks"]["running"] == 60, seconds=60)
            house.kill("subagents1")
            killed_at = time.time()
            house.start_worker("subagents1")
            house.until(goal, seconds=180)
            taken += [_at(e) - killed_at for e in house.events(goal) if _second(e)]
    return taken


def _second(event: dict[str, Any]) -> bool:
    return event["type"] == "subtask.started" and event["data"]["attempt"] == 2


def _at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


def _redis_killed() -> tuple[int, float]:
    """Acknowledged goals that were lost, and seconds from Redis' start to the next finished sub-agent."""
    with running(PURSUIT_REHEARSAL_SECONDS="0.5", **TEST_TIMES) as house:
        goal = house.submit("Redis dies", inputs=[house.items(120)])
        eventually(lambda: _finished(house, goal) > 10, seconds=60)
        accepted = [house.submit("Accepted", start_at="2099-01-01T00:00:00Z") for _ in range(100)]
        house.kill("redis")
        house.start_redis()
        began = time.monotonic()
        before = _finished(house, goal)
        eventually(lambda: _finished(house, goal) > before, seconds=60)
        back = time.monotonic() - began
        with house.client() as client:
            kept = {g["id"] for g in client.goals(status="queued", limit=200)["items"]}
        return len(set(accepted) - kept), back


def _finished(house: House, goal: str) -> int:
    return sum(event["type"] == "subtask.finished" for event in house.events(goal))


def _report(name: str, seconds: list[float], target: float) -> None:
    seconds.sort()
    p95 = seconds[int(0.95 * (len(seconds) - 1))]
    print(
        f"{name:22}  {len(seconds):4} jobs taken over: median {seconds[len(seconds) // 2]:5.1f} s   p95 {p95:5.1f} s   "
        f"slowest {seconds[-1]:5.1f} s   (target p95 <= {target} s)"
    )
