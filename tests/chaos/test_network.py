"""Between the workers and Redis stands a proxy. Scenarios 10 and 17."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.chaos.conftest import MakeHouse
from tests.chaos.proxy import Proxy
from tests.chaos.witness import Calls, completed, count
from tests.house import House, eventually
from tests.scripted import ScriptedModel

LEASE = 3.0


@pytest.fixture
def proxied(make_house: MakeHouse) -> Iterator[tuple[House, Proxy]]:
    """A house whose workers reach Redis through a proxy; the API and the test don't."""
    house = make_house(start=False, workers=1, PURSUIT_LEASE=str(LEASE), PURSUIT_BEAT="0.5")
    house.start_redis()
    proxy = Proxy(house.redis_port)
    direct, house.env["PURSUIT_REDIS_URL"] = house.redis_url, f"redis://127.0.0.1:{proxy.port}/0"
    house.start_workers()
    house.env["PURSUIT_REDIS_URL"] = direct
    house.start_api()
    yield house, proxy
    proxy.close()


def test_10_replies_are_lost_after_the_script_was_carried_out(
    proxied: tuple[House, Proxy], model: ScriptedModel
) -> None:
    house, proxy = proxied
    # a worker that has yet to connect would lose the reply to each of its tries, and the goal would wait for that alone
    eventually(lambda: all("ready." in house.log(name) for name in ("rounds", "subagents1")), seconds=30)
    calls = Calls(model, "[unheard]")
    model.delay = 0.2
    goal = house.submit("Ask twice [unheard]", inputs=[house.items(30)])
    rng = random.Random(10)
    while house.goal(goal)["status"] in ("queued", "running") and proxy.dropped < 60:
        proxy.replies_to_drop += 1
        time.sleep(rng.uniform(0.02, 0.2))
    proxy.replies_to_drop = 0
    assert proxy.dropped > 20
    completed(house, goal, calls)


def fenced(house: House) -> list[float]:
    """When the worker stopped attempts of its own accord."""
    lines = [line for line in house.log("subagents1").splitlines() if "lease ended without a heartbeat" in line]
    return [datetime.fromisoformat(line.split()[0]).timestamp() for line in lines]


@pytest.mark.parametrize("how", [pytest.param("cut", marks=pytest.mark.long), "swallow"])
def test_17_a_partition_longer_than_a_lease(proxied: tuple[House, Proxy], model: ScriptedModel, how: str) -> None:
    """`swallow` is the worse one: connections stay open, and nothing ever comes back."""
    house, proxy = proxied
    calls = Calls(model, f"[{how}]")
    model.delay = 1.0
    goal = house.submit(f"An island [{how}]", inputs=[house.items(30)])
    eventually(lambda: house.goal(goal)["subtasks"]["running"] > 10, seconds=30)
    began = time.time()
    if how == "cut":
        proxy.cut()
    else:
        proxy.mode = "swallow"
    eventually(lambda: fenced(house), seconds=LEASE + 2)
    assert fenced(house)[0] - began < LEASE + 1, "no worker goes on past its lease"
    time.sleep(2)
    proxy.mode, model.delay = "pass", 0.1
    if how == "swallow":
        proxy.cut_now()
    completed(house, goal, calls, seconds=90)


@pytest.mark.long
def test_20_a_slow_network(proxied: tuple[House, Proxy], model: ScriptedModel) -> None:
    house, proxy = proxied
    calls = Calls(model, "[slow line]")
    proxy.delay = 0.03
    goal = house.submit("A slow line [slow line]", inputs=[house.items(10)])
    events = completed(house, goal, calls)
    assert count(events, "job.lost") == 0
