"""A new goal from any round of another; and the same goal once more from its recorded answers, at no cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import httpx
import pytest

from pursuit.client import Client
from pursuit.errors import Conflict, InvalidField
from tests.end_to_end.play import brief_of, by_role, digest, goal_of, plan, reads, subtask, write
from tests.house import House, audit_events
from tests.scripted import Answer, Call, ScriptedModel, says

THREE = [{"text": "three chapters", "check": {"kind": "command", "command": "cat 1.md 2.md 3.md"}}]


def chapters(call: Call) -> Answer:
    number = goal_of(call)["round"] + len(goal_of(call)["before_the_fork"])
    return plan(subtask(f"chapter {number}", write_scope=[f"{number}.md"]))


def chapter(call: Call) -> Answer:
    number = brief_of(call)["brief"]["title"].split()[-1]
    return says("", write(f"{number}.md", f"chapter {number}")) if call.turn == 0 else digest(f"chapter {number}")


def test_a_fork_begins_with_the_files_of_its_round_and_knows_what_was_tried(
    house: House, model: ScriptedModel, client: Client
) -> None:
    model.on("[fork]", by_role(planner=chapters, worker=chapter))
    goal = house.submit("Three chapters [fork]", criteria=THREE, labels={"book": "one"})
    assert house.until(goal)["round"] == 3
    forked = client.fork(goal, {"round": 1, "note": "shorter", "constraints": ["short"]})
    assert (forked["parent"]["goal"], forked["parent"]["round"]) == (goal, 1)
    assert (forked["notes"], forked["constraints"], forked["contract_revision"]) == (["shorter"], ["short"], 1)
    done = house.until(forked["id"])
    assert done["round"] == 2, "chapter 1 was there already"
    assert [a["path"] for a in client.artifacts(forked["id"])] == ["2.md", "3.md"]
    assert [a["path"] for a in client.artifacts(goal)] == ["1.md", "2.md", "3.md"]
    assert f"Forked from round 1 of `{goal}`" in client.report_text(forked["id"])
    whole = client.fork(goal)
    assert whole["parent"]["round"] == 3
    assert house.until(whole["id"])["round"] == 1
    with pytest.raises(Conflict, match="round 7"):
        client.fork(goal, {"round": 7})
    with pytest.raises(InvalidField):
        client.fork(goal, {"criteria": [{"id": "c7", "text": "x"}]})
    audit_events(house.events(forked["id"]))
    house.audit(forked["id"], whole["id"])


def pursuit(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**house.env, "PURSUIT_URL": house.url, "PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, "-m", "pursuit.cli", *words], env=env, capture_output=True, text=True, timeout=60
    )


def test_a_replay_reaches_the_same_decisions_and_pays_nobody(
    house: House, model: ScriptedModel, client: Client
) -> None:
    """The recorded goal has what makes replaying hard: a draft, a refused plan and digest, a question to a person, a
    judge that was sent back, and an amendment."""

    def planner(call: Call) -> Answer:
        if call.turn == 0:
            return plan()  # refused: no subtasks
        if goal_of(call)["round"] == 1:
            drafted = [{"text": "three chapters", "check": {"kind": "command", "command": "cat 1.md 2.md 3.md"}}]
            files = [{"text": "a note", "check": {"kind": "file", "path": "note.md"}}, {"text": "well told"}]
            return plan(
                subtask("chapter 1", write_scope=["1.md"]),
                subtask("ask", write_scope=["note.md"]),
                criteria=[*([] if NO_COMMANDS else drafted), *files],
            )
        number = goal_of(call)["round"]
        return plan(subtask(f"chapter {number}", write_scope=[f"{number}.md"]))

    def worker(call: Call) -> Answer:
        if brief_of(call)["brief"]["title"] == "ask":
            if call.turn == 0:
                return says("", ("ask_person", {"question": "Which year?"}))
            year = str(call.messages[-1]["content"])
            return says("", write("note.md", year)) if call.turn == 1 else digest("asked", artifacts=["note.md"])
        if call.turn == 1:
            return digest("a file that isn't", artifacts=["dream.md"])
        return chapter(call)

    def judge(call: Call) -> Answer:
        found = "met" if len(client.rounds(goals[0])["items"]) > 2 else "not_met"
        if call.turn == 0:
            return says("", ("submit_verdict", {"findings": []}))
        return reads("1.md") if call.turn == 1 else judged(found)

    def judged(found: str) -> Answer:
        name = f"c{len(client.goal(goals[0])['criteria'])}" if NO_COMMANDS else "c3"
        return says("", ("submit_verdict", {"findings": [{"criterion": name, "status": found, "seen": ["1.md"]}]}))

    goals: list[str] = []
    model.on("[replay]", by_role(planner=planner, worker=worker, judge=judge))
    goals.append(house.submit("Three chapters and a note [replay]", budget={"rounds": 6}))
    house.until(goals[0], "blocked")
    (question,) = [q for q in client.inbox() if q["goal"] == goals[0]]
    client.answer(question["id"], "1815")
    done = house.until(goals[0])
    assert done["round"] == 3
    calls = model.calls["[replay]"]

    ended = pursuit(house, "replay", goals[0], "-o", "json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = json.loads(ended.stdout)
    assert said["same"] and [row["same"] for row in said["items"]] == [True] * 3
    assert model.calls["[replay]"] == calls, "no model was called"
    again = said["replay"]
    shown = client.goal(again)
    assert (shown["status"], shown["reason"], shown["parent"]["replay"]) == ("completed", "met", True)
    assert {a["path"]: a["sha256"] for a in client.artifacts(again)} == {
        a["path"]: a["sha256"] for a in client.artifacts(goals[0])
    }
    assert "nothing was paid" in client.report_text(again)
    audit_events(house.events(again))
    house.audit(again)
    with pytest.raises(Conflict, match="replay itself"):
        client.replay(again)


#: commands of models are off in this house, so the draft may have none
NO_COMMANDS = True


def test_a_replay_that_decides_otherwise_says_where(house: House, model: ScriptedModel, client: Client) -> None:
    """The check reads a file of the world, which is another one by the time of the replay."""
    world = house.folder / "world"
    world.mkdir()
    (world / "answer").write_text("42")
    model.on("[world]", by_role(planner=chapters, worker=chapter))
    goal = house.submit(
        "One chapter [world]",
        inputs=[{"path": str(world), "name": "world"}],
        criteria=[{"text": "still 42", "check": {"kind": "command", "command": "grep 42 inputs/world/answer"}}],
    )
    house.until(goal)
    (world / "answer").write_text("43")
    ended = pursuit(house, "replay", goal, "--timeout", "20")
    assert ended.returncode == 1
    assert ended.stdout.split("\t")[-1].strip() == "NO" and "it decides otherwise" in ended.stderr


def test_a_blocked_goal_is_replayed_to_where_it_stands(house: House, model: ScriptedModel, client: Client) -> None:
    model.on("[stuck]", by_role(planner=chapters, worker=lambda call: digest("nothing to do")))
    goal = house.submit("Stuck [stuck]", criteria=THREE)
    house.until(goal, "blocked")
    (question,) = [q for q in client.inbox() if q["goal"] == goal]
    client.answer(question["id"], "try harder")
    assert house.until(goal, "blocked")["reason"] == "stalled"
    ended = pursuit(house, "replay", goal)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.strip().splitlines()
    assert len(lines) == 4 and "ask, met: none" in lines[2] and "block (stalled)" in lines[3]


def test_forks_and_replays_are_made_once_under_a_key(house: House, model: ScriptedModel, client: Client) -> None:
    model.on("[once]", by_role(planner=chapters, worker=chapter))
    goal = house.submit("Once [once]", criteria=[{"text": "1", "check": {"kind": "file", "path": "1.md"}}])
    house.until(goal)
    for what in ("fork", "replay"):
        first, again = (
            httpx.post(f"{house.url}/v1/goals/{goal}/{what}", json={}, headers={"Idempotency-Key": f"{what}-{goal}"})
            for _ in range(2)
        )
        assert first.status_code == again.status_code == 201 and first.json()["id"] == again.json()["id"]
        assert again.headers["Idempotent-Replayed"] == "true"
        assert house.until(first.json()["id"])["status"] == "completed"
