"""Messages lost, doubled, late, and chords broken: only latency changes. Scenarios 3, 5, 6, 7, 8."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from stack import commands
from tests.chaos.conftest import PATIENT, without_workers
from tests.chaos.witness import Calls, completed, count
from tests.house import House, eventually
from tests.scripted import ScriptedModel


@pytest.fixture(scope="module")
def broker_house(tmp_path_factory: pytest.TempPathFactory, model: ScriptedModel) -> Iterator[House]:
    with without_workers(tmp_path_factory.mktemp("messages"), model, **PATIENT) as house:
        yield house


@pytest.fixture
def house(broker_house: House, broker: Redis) -> Iterator[House]:
    """Plans and verifies; a test starts its sub-agents itself, after it has had its way with the messages."""
    start(broker_house, "rounds")
    yield broker_house
    for name in ("rounds", "subtasks", "subtasks2"):
        if name in broker_house.processes and broker_house.processes[name].poll() is None:
            broker_house.kill(name)
    broker.flushdb()


@pytest.fixture
def broker(broker_house: House) -> Iterator[Redis]:
    with Redis.from_url(broker_house.redis_url.removesuffix("0") + "1") as client:
        yield client


def start(house: House, queue: str, name: str = "") -> None:
    house.spawn(name or queue, commands.worker(queue, name or queue, 30))


def planned(house: House, broker: Redis, objective: str, width: int = 12) -> tuple[str, list[bytes]]:
    """A goal whose round is planned, and the messages of its sub-agents, which nobody has taken."""
    goal = house.submit(objective, inputs=[house.items(width)])
    eventually(lambda: broker.llen("subtasks") == width, seconds=20)
    return goal, broker.lrange("subtasks", 0, -1)


def test_03_07_a_third_of_the_messages_is_taken_and_lost(house: House, broker: Redis, model: ScriptedModel) -> None:
    calls = Calls(model, "[lost]")
    goal, messages = planned(house, broker, "Lose messages [lost]")
    for message in random.Random(3).sample(messages, 4):
        broker.lrem("subtasks", 1, message)
    start(house, "subtasks")
    events = completed(house, goal, calls)
    assert count(events, "job.lost") == calls.repeated == 0


def test_06_every_message_comes_five_times_to_two_workers(house: House, broker: Redis, model: ScriptedModel) -> None:
    calls = Calls(model, "[copies]")
    goal, messages = planned(house, broker, "Copies [copies]")
    for _ in range(4):
        broker.lpush("subtasks", *messages)
    start(house, "subtasks")
    start(house, "subtasks", "subtasks2")
    events = completed(house, goal, calls)
    assert count(events, "job.lost") == calls.repeated == 0
    eventually(lambda: broker.llen("subtasks") == 0)


def test_08_messages_that_come_while_the_goal_is_paused(house: House, broker: Redis, model: ScriptedModel) -> None:
    calls = Calls(model, "[held]")
    goal, _ = planned(house, broker, "Held back [held]")
    with house.client() as client:
        assert client.pause(goal)["status"] == "paused"
        before = len(calls.counted)
        start(house, "subtasks")
        eventually(lambda: broker.llen("subtasks") == 0, seconds=20)
        time.sleep(1)
        assert len(calls.counted) == before, "a paused goal costs nothing"
        client.resume(goal)
    completed(house, goal, calls)


def test_08_messages_that_come_after_cancel_or_two_rounds_later(
    house: House, broker: Redis, model: ScriptedModel
) -> None:
    calls = Calls(model, "[late]")
    cancelled, late = planned(house, broker, "Too late [late] cancelled")
    with house.client() as client:
        client.cancel(cancelled)
    broker.delete("subtasks")
    goal, messages = planned(house, broker, "Too late [late] done")
    start(house, "subtasks")
    completed(house, goal)
    ends, made = {g: len(house.events(g)) for g in (goal, cancelled)}, sum(calls.counted.values())
    broker.lpush("subtasks", *messages, *late)
    eventually(lambda: broker.llen("subtasks") == 0, seconds=20)
    time.sleep(1)
    assert {g: len(house.events(g)) for g in ends} == ends, "nothing is recorded after the end"
    assert sum(calls.counted.values()) == made
    house.audit(goal, cancelled)


def test_05_the_chords_keys_are_deleted(house: House, broker: Redis, model: ScriptedModel) -> None:
    calls = Calls(model, "[unchorded]")
    goal, _ = planned(house, broker, "No chord [unchorded]")
    gone = [key for key in broker.keys("*") if key.startswith((b"celery-", b"chord"))]
    assert gone, "there is a chord to break"
    broker.delete(*gone)
    start(house, "subtasks")
    completed(house, goal, calls)


@pytest.mark.parametrize("fate", ["dropped", "doubled", "late"])
def test_05_the_chords_body_is(house: House, broker: Redis, model: ScriptedModel, fate: str) -> None:
    calls = Calls(model, f"[{fate}]")
    goal, _ = planned(house, broker, f"The body is [{fate}]")
    house.kill("rounds")
    broker.delete("rounds")
    start(house, "subtasks")
    eventually(lambda: broker.llen("rounds") > 0, seconds=20)
    body = broker.lindex("rounds", -1)
    if fate == "dropped":
        broker.delete("rounds")
    elif fate == "doubled":
        broker.lpush("rounds", *[body] * 5)
    start(house, "rounds")
    if fate == "late":
        eventually(lambda: house.goal(goal)["round"] > 1, seconds=30)
        broker.lpush("rounds", body)
    events = completed(house, goal, calls)
    assert calls.repeated == 0 and count(events, "round.verified") == house.goal(goal)["round"]
