"""Redis killed, rolled back, failed over, full, or set up wrongly. Scenarios 11, 12, 13, 14, 15."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from pursuit.errors import NotFound, PursuitError, StoreFull
from stack import commands
from tests.chaos.conftest import MakeHouse
from tests.chaos.proxy import Proxy
from tests.chaos.witness import Calls, completed, count
from tests.house import House, eventually
from tests.scripted import ScriptedModel
from tests.servers import binaries, free_port, wait_for_port


def finished(house: House, goal: str) -> int:
    return count(house.events(goal), "subtask.finished")


@pytest.mark.parametrize("down", [0.5, pytest.param(60.0, marks=[pytest.mark.long, pytest.mark.timeout(200)])])
def test_11_redis_killed_loses_nothing_that_was_acknowledged(
    make_house: MakeHouse, model: ScriptedModel, down: float
) -> None:
    house = make_house()
    calls = Calls(model, "[down]")
    model.delay = 0.3
    goal = house.submit("Redis dies [down]", inputs=[house.items(40)])
    accepted: list[str] = []
    over = threading.Event()

    def write() -> None:
        with house.client() as client:
            while not over.is_set():
                try:
                    accepted.append(client.submit({"objective": "Accepted", "start_at": "2099-01-01T00:00:00Z"})["id"])
                except PursuitError:
                    time.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    eventually(lambda: finished(house, goal) > 3 and len(accepted) > 100, seconds=30)
    known = len(house.events(goal))
    house.kill("redis")
    before = len(accepted)
    time.sleep(down)
    house.start_redis()
    eventually(lambda: len(accepted) > before + 5, seconds=30)
    over.set()
    writer.join()
    with Redis.from_url(house.redis_url, decode_responses=True) as redis:
        kept = {key.rpartition(":")[2] for key in redis.keys("*:goal:goal_*")}
    assert set(accepted) <= kept, "no acknowledged goal is lost"
    events = completed(house, goal, calls)
    assert len(events) > known and count(events, "gap") == 1


def test_12_the_tail_of_the_append_only_file_is_lost(make_house: MakeHouse, model: ScriptedModel) -> None:
    house = make_house()
    model.delay = 0.3
    goal = house.submit("Power cut", inputs=[house.items(40)])
    eventually(lambda: finished(house, goal) > 12, seconds=30)
    time.sleep(1.2)
    known = len(house.events(goal))
    house.kill("redis")
    _cut_tail(house.folder / "redis")
    house.start_redis()
    eventually(lambda: count(house.events(goal), "gap") == 1, seconds=20)
    shown = house.goal(goal)
    at_gap = next(e["seq"] for e in house.events(goal) if e["type"] == "gap")
    assert at_gap <= known, "Redis has gone back in time"
    assert shown["status"] in ("running", "completed", "queued")
    completed(house, goal)


def _cut_tail(folder: Path) -> None:
    """A third of the log, and in the middle of a command."""
    (log,) = [*folder.glob("appendonlydir/*.incr.aof"), *folder.glob("appendonly.aof")][:1]
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size * 2 // 3)


def test_13_a_replica_that_is_behind_takes_over(make_house: MakeHouse, model: ScriptedModel) -> None:
    house = make_house(start=False)
    house.start_redis()
    proxy = Proxy(house.redis_port)
    house.env["PURSUIT_REDIS_URL"] = f"redis://127.0.0.1:{proxy.port}/0"
    port = _replica(house)
    house.start_workers()
    house.start_api()
    model.delay = 0.3
    goal = house.submit("Fail over", inputs=[house.items(40)])
    eventually(lambda: finished(house, goal) > 5, seconds=30)
    with Redis(port=port) as redis:
        redis.replicaof("127.0.0.1", free_port())  # it hears no more
    eventually(lambda: finished(house, goal) > 12, seconds=30)
    known = len(house.events(goal))
    proxy.cut()
    house.kill("redis")
    proxy.target, proxy.mode = port, "pass"
    time.sleep(2)  # for now all writes are answered with READONLY
    assert httpx.post(f"{house.url}/v1/goals", json={"objective": "Too early"}, timeout=30).status_code == 503
    with Redis(port=port) as redis:
        redis.replicaof("NO", "ONE")
    house.redis_port = port
    eventually(lambda: count(house.events(goal), "gap") == 1, seconds=20)
    at_gap = next(e["seq"] for e in house.events(goal) if e["type"] == "gap")
    assert at_gap <= known
    completed(house, goal, seconds=60)
    proxy.close()


def _replica(house: House) -> int:
    port, folder = free_port(), house.folder / "replica"
    folder.mkdir()
    argv: list[Any] = [next(iter(binaries().values())), "--port", port, "--bind", "127.0.0.1", "--dir", folder]
    argv += ["--save", "", "--replicaof", f"127.0.0.1 {house.redis_port}", "--repl-diskless-sync-delay", "0"]
    house.spawn("replica", [str(word) for word in argv])
    wait_for_port(port)
    with Redis(port=port) as redis:
        eventually(lambda: redis.info("replication")["master_link_status"] == "up", seconds=20)
    return port


def test_14_an_evicting_redis_is_refused_and_an_emptied_one_stays_empty(
    make_house: MakeHouse, model: ScriptedModel
) -> None:
    house = make_house(workers=1)
    calls = Calls(model, "[emptied]")
    model.delay = 0.5
    goal = house.submit("All gone [emptied]", inputs=[house.items(10)])
    eventually(lambda: len(calls.counted) > 3, seconds=20)
    with Redis.from_url(house.redis_url) as redis:
        redis.flushall()
        time.sleep(2.5)
        made = sum(calls.counted.values())
        time.sleep(2)
        assert sum(calls.counted.values()) == made, "no goal is made up again out of nothing"
        with house.client() as client, pytest.raises(NotFound):
            client.goal(goal)
        model.delay = 0
        completed(house, house.submit("A new beginning", inputs=[house.items(2)]))
        redis.config_set("maxmemory-policy", "allkeys-lru")
        house.kill("api")
        house.spawn("api", commands.api("127.0.0.1", house.api_port))
        answer = eventually(lambda: _post(house), seconds=20)
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unsuitable")
        house.start_worker("late")
        eventually(lambda: "it would throw goals away" in house.log("late"), seconds=20)


def _post(house: House) -> httpx.Response | None:
    try:
        return httpx.post(f"{house.url}/v1/goals", json={"objective": "Nowhere to put it"})
    except httpx.TransportError:
        return None


@pytest.mark.long
def test_15_memory_runs_out_in_the_middle_of_a_goal(make_house: MakeHouse, model: ScriptedModel) -> None:
    house = make_house()
    calls = Calls(model, "[full]")
    model.delay = 1.0
    goal = house.submit("No room [full]", inputs=[house.items(30)])
    eventually(lambda: house.goal(goal)["subtasks"]["running"] == 30, seconds=30)
    with Redis.from_url(house.redis_url) as redis, house.client() as client:
        redis.config_set("maxmemory", int(redis.info("memory")["used_memory"] / 0.9))
        with pytest.raises(StoreFull):
            client.submit({"objective": "One too many"})
        redis.config_set("maxmemory", int(redis.info("memory")["used_memory"] * 0.7))
        assert finished(house, goal) < 30
        eventually(lambda: finished(house, goal) == 30, seconds=20)  # what is paid for is recorded
        time.sleep(2)
        assert house.goal(goal)["round"] == 1, "nothing new is begun"
        redis.config_set("maxmemory", 0)
    completed(house, goal, calls, seconds=90)


def test_without_an_append_only_file_a_worker_says_so(make_house: MakeHouse) -> None:
    house = make_house(start=False)
    argv = [next(iter(binaries().values())), "--port", str(house.redis_port), "--bind", "127.0.0.1", "--save", ""]
    house.spawn("redis", argv)
    wait_for_port(house.redis_port)
    house.start_worker("subagents1")
    eventually(lambda: "without append-only file" in house.log("subagents1"), seconds=20)
    told = subprocess.run([*commands_doctor(house)], env=house.env, capture_output=True, text=True, check=False)
    assert told.returncode == 0 and "answers and calls tools" in told.stdout, told.stdout


def commands_doctor(house: House) -> list[str]:
    return [commands.sys.executable, "-m", "stack", "doctor"]
