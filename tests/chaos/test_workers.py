"""Workers killed, stopped, poisoned, out of time, of another version. Scenarios 1, 9, 16, 18, 19, 20, 21, 24."""

from __future__ import annotations

import signal
import sys
import threading
import time

import pytest
from redis import Redis

from stack import commands
from tests.chaos.conftest import PATIENT, MakeHouse
from tests.chaos.witness import Calls, completed, count
from tests.house import House, eventually
from tests.scripted import Call, ScriptedModel


def finished(house: House, goal: str) -> int:
    return count(house.events(goal), "subtask.finished")


def test_01_a_killed_worker_is_made_up_for_within_five_seconds(make_house: MakeHouse, model: ScriptedModel) -> None:
    house = make_house()
    calls = Calls(model, "[killed]")
    model.delay = 0.4
    goal = house.submit("Survive [killed]", inputs=[house.items(50)])
    eventually(lambda: finished(house, goal) > 3, seconds=30)
    house.kill("subagents1")
    killed_at = time.time()
    model.delay = 0.1
    events = completed(house, goal, calls)
    lost = {e["data"]["subtask"] for e in events if e["type"] == "job.lost"}
    assert lost, "the killed worker had jobs"
    taken = [_seconds(e) for e in events if e["type"] == "subtask.started" and e["data"]["attempt"] == 2]
    assert max(taken) - killed_at < 5


def _seconds(event: dict[str, str]) -> float:
    from datetime import datetime

    return datetime.fromisoformat(event["at"]).timestamp()


def test_09_a_worker_that_slept_past_its_lease_changes_nothing_when_it_wakes(
    make_house: MakeHouse, model: ScriptedModel
) -> None:
    house = make_house()
    calls = Calls(model, "[zombie]")
    model.delay = 0.8
    goal = house.submit("Zombies [zombie]", inputs=[house.items(40)])
    # all are at their second step then, which takes another 0.8 seconds
    eventually(lambda: count(house.events(goal), "subtask.step") > 8, seconds=30)
    house.kill("subagents1", signal.SIGSTOP)
    eventually(lambda: count(house.events(goal), "job.lost"), seconds=20)
    time.sleep(1)
    house.kill("subagents1", signal.SIGCONT)
    events = completed(house, goal, calls)
    assert count(events, "job.lost") > 0


@pytest.mark.timeout(100)
def test_16_a_task_that_kills_every_worker_is_buried_and_its_round_goes_on(
    make_house: MakeHouse, model: ScriptedModel
) -> None:
    # leases longer than a worker takes to start, or all that died with it would come back at the same moment each time
    house = make_house(workers=1, PURSUIT_ATTEMPTS="3", PURSUIT_LEASE="6", PURSUIT_REDISPATCH="5")
    deaths = []

    def poison(call: Call) -> None:
        if call.role == "digest" and '"question 2"' in call.text:
            deaths.append(time.monotonic())
            house.processes["subagents1"].kill()

    model.on("[poison]", poison)
    over = threading.Event()

    def supervise() -> None:
        while not over.wait(0.1):
            if house.processes["subagents1"].poll() is not None:
                house.start_worker("subagents1")

    supervisor = threading.Thread(target=supervise)
    goal = house.submit("Swallow [poison]", inputs=[house.items(4)])
    supervisor.start()
    try:
        events = completed(house, goal, seconds=90)
    finally:
        over.set()
        supervisor.join()
    assert [e["data"]["subtask"] for e in events if e["type"] == "job.buried"] == ["r1-002"]
    assert len(deaths) == 3
    with house.client() as client:
        assert client.rounds(goal)["items"][0]["subtasks"] == {"done": 3, "buried": 1}
        assert client.subtask(goal, "r1-002")["digest"]["outcome"] == "failed"


def test_19_a_worker_whose_clock_is_ten_minutes_off(make_house: MakeHouse, model: ScriptedModel) -> None:
    house = make_house(workers=1, **PATIENT)
    calls = Calls(model, "[skewed]")
    for name, skew in (("ahead", "600"), ("behind", "-600")):
        argv = commands.worker("subtasks", name, 20)
        house.spawn(name, [argv[0], "-m", "tests.chaos.skewed", *argv[3:]], SKEW=skew, PYTHONPATH=sys.path[0])
    model.delay = 0.3
    goal = house.submit("Clocks [skewed]", inputs=[house.items(40)])
    events = completed(house, goal, calls)
    assert count(events, "job.lost") == 0, "leases use the time of Redis"
    logs = (house.log("ahead") + house.log("behind")).splitlines()
    started = {line.split()[-1] for line in logs if "skewed by" in line}
    assert started == {"600", "-600"}


@pytest.mark.long
def test_20_a_redis_that_hangs_for_less_than_a_lease_costs_nobody_a_job(
    make_house: MakeHouse, model: ScriptedModel
) -> None:
    house = make_house(**PATIENT)
    calls = Calls(model, "[slow]")
    model.delay = 0.3
    goal = house.submit("Hang on [slow]", inputs=[house.items(40)])
    eventually(lambda: finished(house, goal) > 0, seconds=30)
    with Redis.from_url(house.redis_url) as redis:
        for _ in range(4):
            redis.execute_command("CLIENT", "PAUSE", "1500", "ALL")
            time.sleep(2)
    events = completed(house, goal, calls)
    assert count(events, "job.lost") == 0


@pytest.mark.long
def test_21_nobody_sweeps_for_a_while(make_house: MakeHouse, model: ScriptedModel) -> None:
    house = make_house()
    calls = Calls(model, "[nobody]")
    model.delay = 0.3
    goal = house.submit("Nobody there [nobody]", inputs=[house.items(20)])
    eventually(lambda: finished(house, goal) > 0, seconds=30)
    for name in ("subagents1", "subagents2", "rounds"):
        house.kill(name)
    time.sleep(3)
    house.start_workers()
    completed(house, goal, calls)


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("newer_does", ["rounds", pytest.param("subtasks", marks=pytest.mark.long)])
def test_24_two_versions_of_workers_side_by_side(make_house: MakeHouse, model: ScriptedModel, newer_does: str) -> None:
    """Workers of this version and of the next serve the same queues; what the next took up, this one leaves to it."""
    house = make_house(workers=1, **PATIENT)
    calls = Calls(model, f"[{newer_does}]")
    argv = commands.worker("rounds,subtasks", "newer", 20)
    house.spawn("newer", [argv[0], "-m", "tests.chaos.newer", *argv[3:]], PYTHONPATH=sys.path[0])
    eventually(lambda: "ready" in house.log("newer"), seconds=20)
    goals = [house.submit(f"Upgrade {n} [{newer_does}]", inputs=[house.items(6)]) for n in range(4)]
    if newer_does == "rounds":
        house.kill("rounds", signal.SIGTERM)
    for goal in goals:
        house.until(goal, seconds=60)
        house.audit(goal)
    with Redis.from_url(house.redis_url, decode_responses=True) as redis:
        versions = {redis.hget(key, "v") for goal in goals for key in redis.keys(f"*goal:{goal}")}
    assert versions <= {"3", "4"} and (newer_does == "subtasks" or "4" in versions)
    assert calls.repeated == 0


@pytest.mark.long
@pytest.mark.timeout(300)
def test_18_ten_thousand_messages_deep_with_one_small_worker(make_house: MakeHouse, model: ScriptedModel) -> None:
    house = make_house(start=False)
    house.start_redis()
    house.start_api()
    house.spawn("rounds", commands.worker("rounds", "rounds", 8))
    model.delay = 0.2
    goals = [house.submit(f"Deep {n} [deep]", inputs=[house.items(250)]) for n in range(40)]
    with Redis.from_url(house.redis_url.removesuffix("0") + "1") as broker:
        eventually(lambda: broker.llen("subtasks") >= 10_000, seconds=120)
        house.spawn("small", commands.worker("subtasks", "small", 10))
        deepest, until = 0, time.monotonic() + 60
        while time.monotonic() < until:
            deepest = max(deepest, broker.llen("subtasks"))
            time.sleep(0.5)
    print(f"10,000 messages, at most {deepest} in the queue after a minute of one small worker")
    # with a redispatch of one second, doubling, a minute would hold six copies of each
    assert deepest < 2 * 10_000
    house.audit(*goals[:5])
    with house.client() as client:
        for goal in goals:
            client.cancel(goal)
    house.audit()
