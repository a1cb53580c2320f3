"""Rounds that don't hang on one straggler: quorum, wrap-up, cut or twin."""

from __future__ import annotations

import asyncio

from pursuit.client import Client
from tests.end_to_end.play import brief_of, by_role, digest, plan, subtask, until, write
from tests.house import House, audit_events
from tests.scripted import Answer, Call, ScriptedModel, says
from worker.prompts import prompt

THERE = [
    {"text": "the quick ones are there", "check": {"kind": "command", "command": "ls quick1.md quick2.md quick3.md"}}
]


def crowd(call: Call) -> Answer:
    quick = [subtask(f"quick{n}", write_scope=[f"quick{n}.md"]) for n in (1, 2, 3)]
    return plan(subtask("slow", write_scope=["slow.md"]), *quick)


def test_the_last_one_is_told_to_wrap_up_and_then_cut(house: House, model: ScriptedModel, client: Client) -> None:
    told: list[str] = []

    async def worker(call: Call) -> Answer:
        title = brief_of(call)["brief"]["title"]
        if title != "slow":
            return says("", write(f"{title}.md", title)) if call.turn == 0 else digest(title)
        told.extend(str(m["content"]) for m in call.messages if m["content"] == prompt("hurried"))
        if call.turn == 0:
            await until(lambda: any(e["type"] == "round.quorum" for e in house.events(goals[0])))
        elif told:
            await until(lambda: house.goal(goals[0])["status"] == "completed")
        else:
            await asyncio.sleep(0.5)
        return says("", ("list_files", {"pattern": f"{call.turn}*"}))

    goals: list[str] = []
    model.on("[cut]", by_role(planner=crowd, worker=worker))
    goals.append(
        house.submit("Don't hang [cut]", criteria=THERE, stragglers={"quorum": 0.75, "factor": 1.0, "least_seconds": 4})
    )
    done = house.until(goals[0])
    assert done["round"] == 1 and told, "it was told that the others wait"
    events = house.events(goals[0])
    audit_events(events)
    quorum = next(e for e in events if e["type"] == "round.quorum")
    assert (quorum["data"]["left"], quorum["data"]["seconds"]) == (1, 4)
    ended = {s["id"]: (s["state"], s["outcome"]) for s in client.subtasks(goals[0])["items"]}
    assert ended["r1-001"] == ("cut", "partial")
    assert client.report(goals[0])["census"]["outcomes"] == {"done": 3, "partial": 1}
    house.audit(goals[0])


def test_a_twin_brings_what_the_straggler_does_not(house: House, model: ScriptedModel, client: Client) -> None:
    async def worker(call: Call) -> Answer:
        brief = brief_of(call)
        title = brief["brief"]["title"]
        if brief["subtask"] == "r1-001":  # hangs until all is over
            await until(lambda: house.goal(goals[0])["status"] == "completed")
            return digest("too late")
        return says("", write(f"{title}.md", brief["subtask"])) if call.turn == 0 else digest(title)

    goals: list[str] = []
    model.on("[hedge]", by_role(planner=crowd, worker=worker))
    criteria = [
        *THERE,
        {"text": "the slow one, too", "check": {"kind": "file", "path": "slow.md", "pattern": "r1-005"}},
    ]
    late = {"quorum": 0.75, "factor": 1.0, "least_seconds": 6, "then": "hedge"}
    goals.append(house.submit("Hedge [hedge]", criteria=criteria, stragglers=late))
    done = house.until(goals[0])
    assert (done["round"], done["subtasks"]["total"]) == (1, 5)
    events = house.events(goals[0])
    audit_events(events)
    assert [e["data"] for e in events if e["type"] == "subtask.twin"] == [{"subtask": "r1-001", "twin": "r1-005"}]
    ended = {s["id"]: (s["state"], s["outcome"]) for s in client.subtasks(goals[0])["items"]}
    assert (ended["r1-001"], ended["r1-005"]) == (("cut", "partial"), ("done", "done"))
    house.audit(goals[0])


def test_a_round_without_a_quorum_waits_for_everybody(house: House, model: ScriptedModel) -> None:
    async def worker(call: Call) -> Answer:
        title = brief_of(call)["brief"]["title"]
        if title == "slow" and call.turn == 0:
            await until(lambda: sum(e["type"] == "subtask.finished" for e in house.events(goals[0])) == 3)
        return says("", write(f"{title}.md", title)) if call.turn == 0 else digest(title)

    goals: list[str] = []
    model.on("[all]", by_role(planner=crowd, worker=worker))
    criteria = [*THERE, {"text": "all", "check": {"kind": "file", "path": "slow.md"}}]
    goals.append(house.submit("Wait for all [all]", criteria=criteria))
    assert house.until(goals[0])["round"] == 1
    assert not [e for e in house.events(goals[0]) if e["type"] == "round.quorum"]
