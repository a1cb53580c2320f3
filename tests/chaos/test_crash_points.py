"""A process killed with SIGKILL at each named arrow of the protocol. Real Redis, real Celery, real HTTP."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from redis import Redis

from config.crashpoints import POINTS
from pursuit.errors import PursuitError
from stack import commands
from tests.chaos.conftest import without_workers
from tests.house import House, audit_events, eventually
from tests.scripted import Answer, Call, ScriptedModel, says

API = {
    "before_submit",
    "after_submit_before_publish",
    "after_submit_before_reply",
    "after_command_before_reply",
    "after_answer_before_publish",
}
#: these are killed by `make test`, one of each kind of arrow; all of them by `make chaos`
FIRST = {
    "message_taken",
    "after_answer_before_journal",
    "after_tools_before_journal",
    "after_checks_before_judge",
    "after_artifacts_before_finish",
    "after_finish_before_publish",
    "before_round_is_sent",
    "after_wait",
    "after_sweep_before_publish",
    "after_blob_before_compact",
}
#: needs a tool of its own: tests/end_to_end/test_tools_and_effects.py
ELSEWHERE = {"after_start_of_tool"}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, model: ScriptedModel) -> Iterator[House]:
    with without_workers(tmp_path_factory.mktemp("crash"), model) as house:
        yield house


def test_every_point_is_somewhere_in_the_code_once() -> None:
    code = "".join(path.read_text() for part in ("worker", "api") for path in (ROOT / part).rglob("*.py"))
    assert {name: code.count(f'crash_point("{name}")') for name in POINTS} == dict.fromkeys(POINTS, 1)


def test_an_unknown_point_is_refused() -> None:
    argv = [str(commands.sys.executable), "-c", "import config.crashpoints"]
    ended = subprocess.run(
        argv, env={"PURSUIT_CRASH": "nowhere"}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1 and "there is no crash point 'nowhere'" in ended.stderr


class Script:
    """A goal that passes by the point: four sub-agents, and whatever the point needs besides."""

    def __init__(self, point: str) -> None:
        self.point = point
        self.calls: Counter[str] = Counter()
        self.broken = point in ("after_retry", "after_wait")

    def __call__(self, call: Call) -> Answer | web.Response | None:
        if self.broken and '"question 1"' in call.text:
            if self.point == "after_wait":
                error = {"message": "quota used up", "resets_in_seconds": 2}
                return web.json_response({"error": error}, status=429)
            return web.Response(status=500, text="overloaded")
        self.calls[f"{call.text} turn {call.turn}"] += 1
        if call.role != "digest" or '"question 1"' not in call.text:
            return None
        if self.point in ("after_question", "after_answer_before_publish"):
            if call.turn == 0:
                return says("", ("ask_person", {"question": "Which year?"}))
            return says("", ("submit_digest", {"outcome": "done", "answer": "in 2025"}))
        return None


def worker(house: House, name: str, **env: str) -> None:
    house.spawn(name, commands.worker("subtasks,rounds", name, 20), **env)


def finish(house: House, goal: str, script: Script) -> None:
    """The goal comes to its end, and everything that was promised holds."""
    with house.client() as client:

        def over() -> bool:
            for question in client.inbox():
                client.answer(question["id"], "2025")
            shown = client.goal(goal)
            if shown["status"] == "paused":
                client.resume(goal)
            return bool(shown["status"] == "completed")

        eventually(over, seconds=45)
    events = house.events(goal)
    audit_events(events)
    house.audit(goal)
    # what was recorded is never paid for again; the calls in flight when the process died are, one a lost job
    again = sum(times - 1 for times in script.calls.values())
    lost = sum(event["type"] == "job.lost" for event in events)
    assert again <= lost, script.calls
    assert house.goal(goal)["usage"]["steps"] == len(script.calls)


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, marks=() if point in FIRST else pytest.mark.long)
        for point in sorted(set(POINTS) - API - ELSEWHERE)
    ],
)
def test_a_worker_killed_there_costs_time_and_nothing_else(house: House, model: ScriptedModel, point: str) -> None:
    script = Script(point)
    model.on(f"[{point}]", script)
    model.delay = 0.4 if point in ("after_beat", "after_release") else 0.05
    try:
        if point != "after_sweep_before_publish":
            worker(house, "victim", PURSUIT_CRASH=point)
        criteria = [{"text": "five rounds", "check": {"kind": "file", "path": "never"}}]
        compact = {"criteria": criteria, "budget": {"rounds": 6}} if point == "after_blob_before_compact" else {}
        goal = house.submit(f"Go on after a crash [{point}]", inputs=[house.items(4)], **compact)
        if point == "after_sweep_before_publish":
            with Redis.from_url(house.redis_url.removesuffix("0") + "1") as broker:
                broker.delete("rounds")  # so that there is something for a sweeper to publish
            worker(house, "victim", PURSUIT_CRASH=point)
        if point == "after_release":
            eventually(lambda: house.goal(goal)["subtasks"]["running"], seconds=20)
            with house.client() as client:
                client.pause(goal)
        assert house.processes["victim"].wait(timeout=30) == -signal.SIGKILL, "it never came there"
        script.broken, model.delay = False, 0.02
        worker(house, "rescuer")
        if compact:
            house.until(goal, "blocked", seconds=45)
            house.audit(goal)
        else:
            finish(house, goal, script)
    finally:
        for name in ("victim", "rescuer"):
            if name in house.processes:
                house.kill(name)
        model.handlers.pop(f"[{point}]")


@pytest.mark.parametrize("point", sorted(API))
def test_an_api_killed_there_costs_an_answer_and_nothing_else(house: House, model: ScriptedModel, point: str) -> None:
    """26: who gets no answer asks again under the same key, and there is one goal, one command, one answer."""
    script = Script(point)
    model.on(f"[{point}]", script)
    model.delay = 0.5 if point == "after_command_before_reply" else 0.05
    worker(house, "rescuer")
    house.kill("api")
    try:
        submission = {"objective": f"Ask again [{point}]", "inputs": [house.items(3)]}
        later = point in ("after_command_before_reply", "after_answer_before_publish")
        if later:
            house.start_api()
            goal = house.submit(submission["objective"], inputs=submission["inputs"])
            if point == "after_answer_before_publish":
                with house.client() as client:
                    eventually(client.inbox, seconds=20)
            house.kill("api")
        house.spawn("api", commands.api("127.0.0.1", house.api_port), PURSUIT_CRASH=point)
        eventually(house._ready, seconds=30)
        with house.client() as client:
            if point == "after_command_before_reply":
                with pytest.raises(PursuitError):
                    client.resume(goal, add_budget={"rounds": 7})
            elif point == "after_answer_before_publish":
                with pytest.raises(PursuitError):
                    client.answer(client.inbox()[0]["id"], "2025")
            else:
                with pytest.raises(PursuitError):
                    client.submit(submission, key=f"key-{point}")
        assert house.processes["api"].wait(timeout=10) == -signal.SIGKILL
        house.start_api()
        if not later:
            with house.client() as client:
                goal = client.submit(submission, key=f"key-{point}")["id"]
                named = [g for g in client.goals(limit=200)["items"] if point in g["objective"]]
                assert [g["id"] for g in named] == [goal], "one goal, however often it was sent"
        if point == "after_command_before_reply":
            assert house.goal(goal)["budget"]["rounds"] == 27
        model.delay = 0.02
        finish(house, goal, script)
    finally:
        house.kill("rescuer")
        if house.processes["api"].poll() is not None:
            house.start_api()
        model.handlers.pop(f"[{point}]")
