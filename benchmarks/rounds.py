"""13 x 300 no-op subtasks as a goal, beside a bare Celery chord doing the same with the same settings, in one run.

The goal's plans, digests and verdicts come from a policy that does nothing, through the model interface: what is
measured is Celery and the engine. Both run on two worker processes for subtasks and one for rounds.
"""

from __future__ import annotations

import statistics
import sys
import time

from benchmarks.engine import cpu_of
from benchmarks.house import running
from stack import commands
from tests.house import House, eventually

ROUNDS, WIDTH, TIMES = 13, 300, 3


def main() -> None:
    bare: list[tuple[float, float]] = []
    goal: list[tuple[float, float]] = []
    with running(PURSUIT_MODEL="rehearsal") as house:
        for name in [n for n in house.processes if n not in ("redis", "api")]:
            house.kill(name)
        for _ in range(TIMES):
            bare.append(_bare(house))
            goal.append(_goal(house))
    for name, runs in (("bare chord", bare), ("goal", goal)):
        walls, cpus = [run[0] for run in runs], [run[1] for run in runs]
        wall, cpu = statistics.median(walls), statistics.median(cpus)
        per = cpu / (ROUNDS * WIDTH) * 1000
        spread = f"{min(walls):.2f} to {max(walls):.2f}"
        print(f"{name:11} {wall:6.2f} s wall ({spread})   {cpu:6.2f} s CPU   {per:.2f} ms CPU a task")
    ratio = statistics.median(g[0] / b[0] for g, b in zip(goal, bare, strict=True))
    print(f"ratio       {ratio:6.2f}   (target <= 1.3)")


def _workers(house: House, app: str) -> list[str]:
    names = []
    for name, queue, count in (("a", "subtasks", 150), ("b", "subtasks", 150), ("r", "rounds", 16)):
        argv = commands.worker(queue, f"{name}{time.time_ns()}", count, "WARNING")
        argv[argv.index("worker.app")] = app
        house.spawn(name, argv)
        names.append(name)
    time.sleep(4)
    return names


def _stop(house: House, names: list[str]) -> None:
    for name in names:
        house.kill(name)


def _cpu(house: House, names: list[str]) -> float:
    return sum(cpu_of(house.processes[name].pid) for name in [*names, "redis"])


def _bare(house: House) -> tuple[float, float]:
    from redis import Redis

    names = _workers(house, "benchmarks.bare")
    with Redis.from_url(house.redis_url) as redis:
        redis.delete("bare:done")
        before = _cpu(house, names)
        house.spawn("launch", [sys.executable, "-c", f"from benchmarks.bare import first; first({ROUNDS}, {WIDTH})"])
        ended = float(eventually(lambda: redis.get("bare:done"), seconds=120))
        began = float(redis.get("bare:began") or 0)  # type: ignore[arg-type]
        used = _cpu(house, names) - before
    _stop(house, names)
    return ended - began, used


def _goal(house: House) -> tuple[float, float]:
    names = _workers(house, "benchmarks.noop")
    before, began = _cpu(house, names), time.time()
    goal = house.submit(
        f"Do nothing, thirteen times, {time.time_ns()}",
        budget={"rounds": ROUNDS, "steps": 100_000},
        criteria=[{"text": f"round {number} is over"} for number in range(1, ROUNDS + 1)],
    )
    shown = house.until(goal, "completed", "blocked", seconds=120)
    ended = time.time()
    used = _cpu(house, names) - before
    if shown["usage"]["subagents"] != ROUNDS * WIDTH:
        raise RuntimeError(f"{shown['usage']['subagents']} subtasks: {shown['now']}")
    _stop(house, names)
    return ended - began, used
