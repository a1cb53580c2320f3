"""A whole house for tests: real Redis, real Celery workers, real HTTP; parts can be killed and started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from config.settings import Settings
from pursuit.client import Client
from stack import commands
from stack.checkup import check_goals
from tests.servers import binaries, free_port, wait_for_port

#: settings under which a dead worker is noticed in seconds
TEST_TIMES = {
    "PURSUIT_LEASE": "2.5",
    "PURSUIT_BEAT": "0.5",
    "PURSUIT_SWEEP": "0.2",
    "PURSUIT_REDISPATCH": "2",
    "PURSUIT_CHORD_GRACE": "1",
}


#: accounts beside the usual one, for tests that spoil theirs
SPARE = 12
PRICES = {"input": 1.0, "output": 10.0, "cached": 0.1}


def profiles(url: str) -> dict[str, Any]:
    """`spare-1` and so on: the same scripted model, each with a key and so with limits of its own."""
    common = {"provider": "house", "model": "scripted", "base_url": url, "prices": PRICES}
    own = {f"spare-{n}": {**common, "key_variable": f"KEY_{n}"} for n in range(1, SPARE + 1)}
    return {**own, "small": {**common, "key_variable": "KEY_1", "window": 9_000}}


def paid_by(profile: str) -> dict[str, str]:
    """All roles of a goal by one profile."""
    return dict.fromkeys(("planner", "subagent", "verifier"), profile)


class House:
    """Starts with `start`; every process it starts is gone after `stop`."""

    def __init__(self, folder: Path, *, model_url: str, workers: int = 2, **settings: str) -> None:
        self.folder = folder
        self.redis_port, self.api_port = free_port(), free_port()
        self.workers = workers
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PURSUIT_REDIS_URL": self.redis_url,
            "PURSUIT_DATA": str(folder / "data"),
            "PURSUIT_MODEL": "openai:scripted",
            "OPENAI_API_KEY": "sk-scripted",
            "OPENAI_BASE_URL": model_url,
            "PURSUIT_PROFILES": json.dumps(profiles(model_url)),
            **{f"KEY_{number}": f"key-number-{number}" for number in range(1, SPARE + 1)},
            **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}),
            "PURSUIT_COMMANDS": "checks",
            "PURSUIT_MODEL_STALL": "3",
            "PURSUIT_SANDBOX": "none",
            "PURSUIT_PORT": str(self.api_port),
            **TEST_TIMES,
            **settings,
        }

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.redis_port}/0"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    def client(self) -> Client:
        return Client(self.url)

    def start(self) -> None:
        self.start_redis()
        self.start_workers()
        self.start_api()

    def start_redis(self) -> None:
        binary = next(iter(binaries().values()))
        data = self.folder / "redis"
        data.mkdir(exist_ok=True)
        argv = [binary, "--port", str(self.redis_port), "--bind", "127.0.0.1", "--dir", str(data), "--save", ""]
        self._spawn("redis", [*argv, "--appendonly", "yes"])
        wait_for_port(self.redis_port)

    def start_workers(self) -> None:
        for number in range(1, self.workers + 1):
            self.start_worker(f"subagents{number}")
        self._spawn("rounds", commands.worker("rounds", "rounds", 8))

    def start_worker(self, name: str) -> None:
        self._spawn(name, commands.worker("subtasks", name, 150))

    def start_api(self) -> None:
        self._spawn("api", commands.api("127.0.0.1", self.api_port))
        eventually(self._ready, seconds=30)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def spawn(self, name: str, argv: list[str], **env: str) -> None:
        self._spawn(name, argv, **env)

    def _spawn(self, name: str, argv: list[str], **env: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                argv, env={**self.env, **env}, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        process = self.processes[name]
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait()

    def kill_everything(self) -> None:
        for name in self.processes:
            self.kill(name)

    def stop(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
        for process in self.processes.values():
            process.wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    # --- goals --------------------------------------------------------------------------------

    def submit(self, objective: str, **over: Any) -> str:
        with self.client() as client:
            return str(client.submit({"objective": objective, **over})["id"])

    def goal(self, goal: str) -> dict[str, Any]:
        with self.client() as client:
            return client.goal(goal)

    def until(self, goal: str, *statuses: str, seconds: float = 60) -> dict[str, Any]:
        """The goal once it is in one of these statuses."""
        wanted = statuses or ("completed",)
        deadline = time.monotonic() + seconds
        with self.client() as client:
            while time.monotonic() < deadline:
                shown = client.goal(goal, wait=2)
                if shown["status"] in wanted:
                    return shown
                if shown["status"] in ("completed", "cancelled", "blocked"):
                    break
        raise AssertionError(f"{shown['status']} ({shown['reason']}): {shown['now']}; wanted {wanted}")

    def events(self, goal: str) -> list[dict[str, Any]]:
        with self.client() as client:
            found: list[dict[str, Any]] = []
            after = None
            while True:
                page = client.event_page(goal, after=after)
                found += page["items"]
                after = page["next_cursor"]
                if after is None:
                    return found

    def audit(self, *goals: str) -> None:
        """Holds goals, or all of them, against the invariants, in the store itself, as `pursuit doctor --goal` does."""
        settings = Settings(redis_url=SecretStr(self.redis_url), data=self.folder / "data")
        for wanted in goals or ("all",):
            for checkup in asyncio.run(check_goals(settings, wanted, repair=False)):
                assert not checkup.findings, checkup

    def items(self, count: int) -> dict[str, str]:
        """An input that makes the rehearsal policy plan this many subtasks."""
        folder = self.folder / f"items-{count}"
        folder.mkdir(exist_ok=True)
        (folder / "items.txt").write_text("\n".join(f"question {n}" for n in range(1, count + 1)))
        return {"path": str(folder), "name": "list"}


def eventually(check: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true answer of a check."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := check():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} seconds: {check}")


def audit_events(events: list[dict[str, Any]]) -> None:
    """The invariants that can be read from a goal's log: I1, I2, I3, I7, I9."""
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1)), "event numbers have a gap"
    finished = [e["data"]["subtask"] for e in events if e["type"] == "subtask.finished"]
    assert len(finished) == len(set(finished)), "a subtask was recorded twice"
    planned = [e["data"]["round"] for e in events if e["type"] == "round.planned"]
    verified = [e["data"]["round"] for e in events if e["type"] == "round.verified"]
    assert planned == list(range(1, len(planned) + 1)), f"rounds planned: {planned}"
    assert verified == list(range(1, len(verified) + 1)), f"rounds verified: {verified}"
    final = [place for place, e in enumerate(events) if e["data"].get("to") in ("completed", "cancelled")]
    assert not final or final == [len(events) - 1], "something was recorded after the end"
