"""What a goal is held to: drafted, shown, amended while it runs, signed by people, accepted with gaps."""

from __future__ import annotations

import threading

import httpx
import pytest

from pursuit.client import Client
from pursuit.errors import InvalidField, Stale
from tests.end_to_end.play import by_role, careful, digest, goal_of, one_file, plan, reads, subtask, verdict, writer
from tests.house import House, audit_events, eventually
from tests.scripted import Answer, Call, ScriptedModel, says


def test_a_goal_without_criteria_says_so_and_shows_what_the_planner_drafts(
    house: House, model: ScriptedModel, client: Client
) -> None:
    release = threading.Event()
    drafted = [
        {"text": "there is a summary", "check": {"kind": "file", "path": "out.md", "pattern": "(?i)summary"}},
        {"text": "it reads well"},
    ]

    def planner(call: Call) -> Answer:
        assert goal_of(call)["contract"]["author_of_criteria"] == "engine"
        release.wait(20)
        return plan(subtask("write it", write_scope=["out.md"]), criteria=drafted)

    model.on(
        "[drafted]",
        by_role(planner=planner, worker=writer(content=lambda call: "A summary."), judge=careful(c2="met")),
    )
    goal = house.submit("Sum it up [drafted]")
    before = client.goal(goal)
    assert before["criteria_by"] == "engine" and "rests on a model's judgement" in before["warnings"][0]
    release.set()
    shown = house.until(goal)
    assert (shown["criteria_by"], shown["contract_revision"], shown["warnings"]) == ("planner", 2, [])
    assert [(c["id"], c["check"]["kind"], c["status"], c["fresh"]) for c in shown["criteria"]] == [
        ("c1", "file", "met", True),
        ("c2", "judge", "met", True),
    ]
    assert shown["criteria"][0]["evidence"]["passed"] and shown["criteria"][0]["evidence"]["inputs"]
    events = house.events(goal)
    audit_events(events)
    (amended,) = [e for e in events if e["type"] == "goal.amended"]
    assert amended["actor"] == "planner" and amended["seq"] < next(
        e["seq"] for e in events if e["type"] == "round.verified"
    )
    assert client.rounds(goal)["items"][0]["verdict"]["revision"] == 2
    assert [c["revision"] for c in client.contracts(goal)] == [1, 2]
    house.audit(goal)


def test_an_amendment_reaches_running_subagents_and_the_next_plan_and_every_verdict_names_its_revision(
    house: House, model: ScriptedModel, client: Client
) -> None:
    heard: dict[str, list[str]] = {"worker": [], "planner": []}
    started, amended = threading.Event(), threading.Event()

    def planner(call: Call) -> Answer:
        view = goal_of(call)
        heard["planner"].append(f"{view['contract']['revision']} {view['contract']['notes']}")
        return plan(subtask("write it", write_scope=["out.md"]))

    def worker(call: Call) -> Answer:
        if call.turn == 0:
            started.set()
            amended.wait(20)
            return says("", ("list_files", {"pattern": "*"}))
        words = [m["content"] for m in call.messages if m["role"] == "user"][1:]
        heard["worker"] += words
        return (
            says("", ("write_file", {"path": "out.md", "content": "in euros"})) if call.turn == 1 else digest("written")
        )

    model.on("[amended]", by_role(planner=planner, worker=worker))
    first = {"text": "there is a table", "check": {"kind": "file", "path": "out.md"}}
    goal = house.submit("Prices as a table [amended]", criteria=[first, {"text": "dollars everywhere"}])
    assert started.wait(20)
    shown = client.goal(goal)
    kept = {"id": "c1", **first}
    euros = {"text": "in euros", "check": {"kind": "file", "path": "out.md", "pattern": "euros"}}
    change = {"criteria": [kept, euros], "note": "euros, not dollars", "budget": {"rounds": 3}}
    with pytest.raises(Stale, match="at revision"):
        client.amend(goal, change, revision=shown["revision"] - 1)
    with pytest.raises(InvalidField, match="no criterion 'c9'"):
        client.amend(goal, {"criteria": [{"id": "c9", "text": "x"}]})
    assert client.goal(goal)["contract_revision"] == 1, "what is refused changes nothing"
    after = client.amend(goal, change, revision=client.goal(goal)["revision"])
    amended.set()
    assert [c["id"] for c in after["criteria"]] == ["c1", "c3"], "an id never comes again"
    assert (after["objective"], after["contract_revision"]) == (shown["objective"], 2)
    assert after["budget"]["rounds"] == 3
    done = house.until(goal)
    assert any("revision 2" in words and "c3: in euros" in words for words in heard["worker"])
    assert client.rounds(goal)["items"][0]["verdict"]["revision"] == 2
    assert done["criteria"][1]["revision"] == 2
    assert [c["criteria"][1]["text"] for c in client.contracts(goal)] == ["dollars everywhere", "in euros"]
    assert "amended" in [e["type"].removeprefix("goal.") for e in house.events(goal)]
    house.audit(goal)


def test_what_was_verified_before_an_amendment_completes_nothing(
    house: House, model: ScriptedModel, client: Client
) -> None:
    plans: list[int] = []

    def planner(call: Call) -> Answer:
        plans.append(goal_of(call)["contract"]["revision"])
        return plan(subtask("write it", write_scope=["out.md"]))

    def judge(call: Call) -> Answer:
        if call.turn == 0:
            return reads("out.md")
        if len(plans) == 1:  # in the middle of the judgement a person asks for more
            with house.client() as person:
                person.amend(goals[0], {"criteria": [{"id": "c1", "text": "good"}, {"text": "and short"}]})
        return verdict(**dict.fromkeys(asked(call), "met"))

    goals: list[str] = []
    model.on("[overtaken]", by_role(planner=planner, worker=writer(), judge=judge))
    goals.append(house.submit("Write well [overtaken]", criteria=[{"text": "good"}]))
    done = house.until(goals[0])
    assert plans == [1, 2] and done["round"] == 2
    assert [c["status"] for c in done["criteria"]] == ["met", "met"]
    rounds = client.rounds(goals[0])["items"]
    assert [r["verdict"]["revision"] for r in rounds] == [1, 2]
    audit_events(house.events(goals[0]))
    house.audit(goals[0])


def asked(call: Call) -> list[str]:
    from worker.prompts import unfence

    names: list[str] = unfence("verification", call.text)["asked"]
    return names


def test_a_person_signs_off_what_then_may_not_change_any_more(
    house: House, model: ScriptedModel, client: Client
) -> None:
    model.on(
        "[signed]",
        by_role(planner=one_file(), worker=writer(content=lambda call: f"draft for round {brief_of_round(call)}")),
    )
    goal = house.submit(
        "Write a letter [signed]",
        criteria=[
            {"text": "there is a letter", "check": {"kind": "file", "path": "out.md"}},
            {"text": "the tone is right", "check": {"kind": "human", "question": "Read out.md."}},
        ],
    )

    def sign(answer: str, round_number: int) -> None:
        blocked = house.until(goal, "blocked")
        assert (blocked["reason"], blocked["round"]) == ("sign_off", round_number)
        assert "sign" in blocked["now"].lower()
        (question,) = [q for q in client.inbox() if q["goal"] == goal]
        assert question["kind"] == "sign_off" and "Read out.md." in question["text"]
        client.answer(question["id"], answer)

    sign("too stiff", 1)
    eventually(lambda: client.goal(goal)["round"] == 2)
    sign("yes", 2)
    done = house.until(goal)
    assert [c["status"] for c in done["criteria"]] == ["met", "met"]
    findings = client.rounds(goal)["items"][0]["verdict"]["findings"]
    assert findings[1]["status"] == "not_met" and "too stiff" in findings[1]["why"]
    assert client.inbox() == [] or all(q["goal"] != goal for q in client.inbox())
    house.audit(goal)


def brief_of_round(call: Call) -> int:
    from tests.end_to_end.play import brief_of

    return int(brief_of(call)["round"])


def test_a_person_accepts_a_goal_with_its_gaps(house: House, model: ScriptedModel, client: Client) -> None:
    model.on("[accepted]", by_role(planner=one_file(), worker=writer(content=lambda call: "half of it")))
    goal = house.submit(
        "Write all of it [accepted]",
        criteria=[{"text": "all of it", "check": {"kind": "file", "path": "out.md", "pattern": "whole"}}],
        budget={"rounds": 1},
    )
    house.until(goal, "blocked")
    command = client.accept(goal, reason="half is enough for now")
    assert command["changed"] and not client.accept(goal)["changed"]
    shown = client.goal(goal)
    assert (shown["status"], shown["reason"]) == ("completed", "accepted")
    assert "0 of 1 criteria" in shown["now"]
    report = client.report(goal)
    assert report["outcome"] == "accepted" and "c1 all of it: not_met" in report["not_done"]
    assert "pattern not found" in client.report_text(goal)
    audit_events(house.events(goal))
    house.audit(goal)


def test_checks_that_cannot_be_are_refused_when_they_are_submitted(house: House) -> None:
    bad = [
        {"kind": "file", "path": "a.json", "json_schema": {"type": "nonsense"}},
        {"kind": "http", "url": "ftp://example.org"},
        {"kind": "command", "command": "true", "pristine": ["../x"]},
        {"kind": "file", "path": "a", "absent": "("},
    ]
    for check in bad:
        answer = httpx.post(
            f"{house.url}/v1/goals", json={"objective": "x", "criteria": [{"text": "y", "check": check}]}
        )
        assert answer.status_code == 422, check
        assert answer.json()["errors"][0]["field"].startswith("criteria.0.check")
    waits = httpx.post(f"{house.url}/v1/goals", json={"objective": "x", "wait_for": {"kind": "http"}})
    assert waits.status_code == 422 and "needs 'url'" in waits.json()["detail"]


def test_a_drafted_command_and_a_command_of_a_sub_agent_where_models_may_run_some(
    tmp_path_factory: pytest.TempPathFactory, model: ScriptedModel
) -> None:
    told: list[str] = []
    drafted = [{"text": "there", "check": {"kind": "command", "command": "grep text out.md"}}]

    def worker(call: Call) -> Answer:
        if call.turn == 0:
            return says("", ("run_command", {"command": "echo text > out.md; echo x > other.md"}))
        told.append(str(call.messages[-1]["content"]))
        return digest("by command", artifacts=["out.md"])

    def planner(call: Call) -> Answer:
        return plan(subtask("write it", write_scope=["out.md"]), criteria=drafted)

    model.on("[commands]", by_role(planner=planner, worker=worker))
    house = House(tmp_path_factory.mktemp("commands"), model_url=model.url, workers=1, PURSUIT_COMMANDS="all")
    house.start()
    try:
        done = house.until(house.submit("Write it by command [commands]"))
        assert "put back as it was: other.md" in told[0]
        assert done["criteria_by"] == "planner" and done["criteria"][0]["evidence"]["output"] == "exit code 0\ntext"
        with house.client() as client:
            assert [a["path"] for a in client.artifacts(done["id"])] == ["out.md"]
    finally:
        house.stop()
