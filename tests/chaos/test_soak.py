"""27: a hundred goals while everything is done to the house at once; the offline checker has the last word.

`make chaos` runs it; PURSUIT_SOAK_SECONDS and PURSUIT_SOAK_GOALS make it shorter or longer.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

import pytest
from redis import Redis
from redis.exceptions import RedisError

from pursuit.errors import PursuitError
from stack import commands
from tests.chaos.conftest import MakeHouse
from tests.chaos.proxy import Proxy
from tests.house import House, audit_events, eventually
from tests.scripted import ScriptedModel

SECONDS = float(os.environ.get("PURSUIT_SOAK_SECONDS", 600))
GOALS = int(os.environ.get("PURSUIT_SOAK_GOALS", 100))


class Vandal:
    """Breaks something every second or two, and puts back what a supervisor would."""

    def __init__(self, house: House, proxy: Proxy, seed: int) -> None:
        self.house, self.proxy = house, proxy
        self.rng = random.Random(seed)
        self.done: Counter[str] = Counter()

    def strike(self) -> None:
        kind = self.rng.choice(
            ("kill worker", "kill worker", "stop worker", "kill api", "kill redis", "cut", "drop replies", "delay",
             "lose messages", "double messages", "people", "people")
        )  # fmt: skip
        try:
            getattr(self, kind.replace(" ", "_"))()
            self.done[kind] += 1
        except (PursuitError, RedisError, AssertionError):
            self.done[f"{kind} failed"] += 1

    def mend(self) -> None:
        """Starts again what has died, as systemd or `pursuit up` would."""
        starts = {"redis": self.house.start_redis, "api": self.house.start_api}
        for name, process in list(self.house.processes.items()):
            if process.poll() is not None:
                starts.get(name, lambda name=name: self._worker(name))()

    def _worker(self, name: str) -> None:
        queues = "rounds" if name == "rounds" else "subtasks"
        self.house.spawn(name, commands.worker(queues, name, 60), PURSUIT_REDIS_URL=self.through)

    @property
    def through(self) -> str:
        return f"redis://127.0.0.1:{self.proxy.port}/0"

    def start_workers(self) -> None:
        for name in ("subagents1", "subagents2", "rounds"):
            self._worker(name)

    def _some_worker(self) -> str:
        return self.rng.choice(("subagents1", "subagents2", "rounds"))

    def kill_worker(self) -> None:
        self.house.kill(self._some_worker())

    def stop_worker(self) -> None:
        name = self._some_worker()
        self.house.kill(name, signal.SIGSTOP)
        time.sleep(self.rng.choice((0.5, 3.0)))
        self.house.kill(name, signal.SIGCONT)

    def kill_api(self) -> None:
        self.house.kill("api")

    def kill_redis(self) -> None:
        self.house.kill("redis")
        time.sleep(self.rng.choice((0.0, 1.0, 3.0)))

    def cut(self) -> None:
        self.proxy.cut()
        time.sleep(self.rng.choice((0.2, 1.0, 4.0)))
        self.proxy.mode = "pass"

    def drop_replies(self) -> None:
        self.proxy.replies_to_drop = self.rng.randint(1, 30)

    def delay(self) -> None:
        self.proxy.delay = self.rng.choice((0.01, 0.05))
        time.sleep(2)
        self.proxy.delay = 0.0

    def _queue(self, broker: Redis) -> tuple[str, list[bytes]]:
        queue = self.rng.choice(("subtasks", "rounds"))
        return queue, broker.lrange(queue, 0, 50)

    def lose_messages(self) -> None:
        with Redis.from_url(self.house.redis_url.removesuffix("0") + "1") as broker:
            queue, messages = self._queue(broker)
            for message in messages[::3]:
                broker.lrem(queue, 1, message)

    def double_messages(self) -> None:
        with Redis.from_url(self.house.redis_url.removesuffix("0") + "1") as broker:
            queue, messages = self._queue(broker)
            if messages:
                broker.lpush(queue, *messages)

    def people(self) -> None:
        with self.house.client() as client:
            page = client.goals(status=["running", "paused", "queued"], limit=100)["items"]
            if page:
                goal = self.rng.choice(page)["id"]
                verb = self.rng.choice((client.pause, client.resume, client.resume))
                verb(goal)


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 900)
def test_27_a_hundred_goals_under_everything_at_once(make_house: MakeHouse, model: ScriptedModel) -> None:
    house = make_house(start=False)
    house.start_redis()
    proxy = Proxy(house.redis_port)
    vandal = Vandal(house, proxy, seed=27)
    vandal.start_workers()
    house.start_api()
    model.delay = 0.2
    goals = [house.submit(f"Soak number {n}", inputs=[house.items(5 + n % 20)]) for n in range(GOALS)]
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        vandal.strike()
        time.sleep(vandal.rng.uniform(0.3, 2.0))
        vandal.mend()
    model.delay = 0
    proxy.mode, proxy.delay, proxy.replies_to_drop = "pass", 0.0, 0
    vandal.mend()

    def all_over() -> bool:
        with house.client() as client:
            left = client.goals(status=["running", "paused", "queued", "blocked"], limit=200)["items"]
            for goal in left:
                if goal["status"] in ("paused", "blocked"):
                    client.resume(goal["id"])
            return not left

    eventually(all_over, seconds=600)
    print(f"\n{GOALS} goals, {SECONDS:.0f} s: {dict(vandal.done)}")
    for goal in goals:
        audit_events(house.events(goal))
    house.audit()
    proxy.close()
