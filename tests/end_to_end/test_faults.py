"""What dies underneath a goal: a worker, everything, Redis. The goal goes on and completes; nothing is repeated."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from pursuit.errors import StoreUnavailable
from tests.house import House, audit_events, eventually
from tests.scripted import Call, ScriptedModel


def counted(model: ScriptedModel, marker: str) -> dict[str, int]:
    """Counts the model calls of each subtask's turn."""
    seen: dict[str, int] = {}
    lock = threading.Lock()

    def handler(call: Call) -> None:
        with lock:
            key = f"{call.text} turn {call.turn}"
            seen[key] = seen.get(key, 0) + 1

    model.on(marker, handler)
    return seen


def finished(house: House, goal: str) -> int:
    return sum(event["type"] == "subtask.finished" for event in house.events(goal))


def test_a_worker_killed_in_mid_round_costs_a_lease_and_nothing_recorded(
    own_house: House, model: ScriptedModel
) -> None:
    seen = counted(model, "[killed]")
    model.delay = 0.5
    goal = own_house.submit("Survive a dead worker [killed]", inputs=[own_house.items(60)])
    eventually(lambda: finished(own_house, goal) > 5, seconds=30)
    own_house.kill("subagents1")
    killed_at = time.monotonic()
    own_house.until(goal, seconds=60)
    assert time.monotonic() - killed_at < 30
    events = own_house.events(goal)
    audit_events(events)
    lost = {e["data"]["subtask"] for e in events if e["type"] == "job.lost"}
    assert lost, "the killed worker had jobs, so some must have been taken over"
    # a call whose answer was not recorded when its worker died is made again; a recorded one never is
    again = {key: times for key, times in seen.items() if times > 1}
    assert len(again) <= len(lost)
    steps = own_house.goal(goal)["usage"]["steps"]
    assert steps == len(seen), "each distinct step counts once"


def test_everything_stopped_in_mid_round_and_started_again(own_house: House, model: ScriptedModel) -> None:
    model.delay = 0.5
    goal = own_house.submit("Survive a power cut", inputs=[own_house.items(60)])
    eventually(lambda: finished(own_house, goal) > 5, seconds=30)
    before = finished(own_house, goal)
    time.sleep(1.1)  # the AOF is written each second
    own_house.kill_everything()
    own_house.start()
    assert finished(own_house, goal) >= before
    own_house.until(goal, seconds=60)
    audit_events(own_house.events(goal))


def test_a_worker_told_to_stop_hands_its_subagents_back(own_house: House, model: ScriptedModel) -> None:
    model.delay = 0.5
    goal = own_house.submit("Drain", inputs=[own_house.items(40)])
    eventually(lambda: finished(own_house, goal) > 0, seconds=30)
    own_house.kill("subagents1", 15)
    own_house.processes["subagents1"].wait(timeout=20)
    own_house.until(goal, seconds=60)
    events = own_house.events(goal)
    audit_events(events)
    assert not [e for e in events if e["type"] == "job.lost"], "handed back, not lost"


def test_while_redis_is_away_the_api_says_so_and_workers_come_back_by_themselves(
    own_house: House, model: ScriptedModel
) -> None:
    model.delay = 0.3
    goal = own_house.submit("Survive an absence of Redis", inputs=[own_house.items(40)])
    eventually(lambda: finished(own_house, goal) > 3, seconds=30)
    time.sleep(1.1)
    own_house.kill("redis")
    answer = httpx.get(f"{own_house.url}/v1/goals/{goal}", timeout=20)
    assert answer.status_code == 503
    assert answer.json()["code"] == "store_unavailable"
    assert httpx.get(f"{own_house.url}/healthz").status_code == 200
    with own_house.client() as client, pytest.raises(StoreUnavailable):
        client.submit({"objective": "Nothing half-created"})
    time.sleep(3)
    own_house.start_redis()
    own_house.until(goal, seconds=60)
    audit_events(own_house.events(goal))
