"""Models that answer garbage: sent back with what is wrong, then a typed blocker or a failed digest, never a wedge."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from tests.house import House, audit_events, paid_by
from tests.scripted import Answer, Call, Handler, ScriptedModel, says

BRIEF = {"title": "one", "objective": "do one thing"}


def plan(**body: Any) -> Handler:
    """A planner that always proposes this."""
    return lambda call: says("", ("submit_plan", body)) if call.role == "plan" else None


BAD_PLANS: dict[str, tuple[Handler, str]] = {
    "empty": (plan(approach="none", subtasks=[]), "no subtasks"),
    "301": (plan(subtasks=[{"title": f"{n}", "objective": f"part {n}"} for n in range(301)]), "at most 300"),
    "duplicates": (plan(subtasks=[BRIEF, BRIEF]), "same objective"),
    "unknown tool": (plan(subtasks=[{**BRIEF, "tools": ["teleport"]}]), "no tool named 'teleport'"),
    "overlapping": (
        plan(
            subtasks=[
                {**BRIEF, "write_scope": ["out"]},
                {"title": "two", "objective": "another", "write_scope": ["out/deep.md"]},
            ]
        ),
        "inside 'out'",
    ),
    "wrong types": (plan(subtasks="many"), "subtasks"),
    "no JSON": (lambda call: says("", ("submit_plan", "{not json")) if call.role == "plan" else None, "not accepted"),
    "only prose": (lambda call: says("I would start by thinking.") if call.role == "plan" else None, "no tool"),
    "garbled body": (lambda call: web.Response(text="<html>oops</html>"), "no chat completion"),
    "no choices": (lambda call: web.json_response({"choices": []}), "no chat completion"),
    "key refused": (lambda call: web.json_response({"error": "bad key"}, status=401), "401"),
    "bad request": (lambda call: web.json_response({"error": "context too long"}, status=400), "400"),
}


@pytest.mark.parametrize("kind", BAD_PLANS)
def test_a_plan_that_cannot_start_blocks_the_goal_with_its_reason(
    house: House, model: ScriptedModel, kind: str
) -> None:
    handler, words = BAD_PLANS[kind]
    marker = f"[bad plan: {kind}]"
    model.on(marker, handler)
    # an endpoint's refusal of the key holds for all who pay with it
    models = paid_by("spare-1") if kind == "key refused" else {}
    goal = house.submit(f"Plan badly {marker}", models=models)
    shown = house.until(goal, "blocked", seconds=30)
    assert shown["reason"] == "configuration"
    assert words in shown["detail"]
    assert model.calls[marker] <= 3, "sent back twice, then it counts"
    audit_events(house.events(goal))


def test_a_blocked_plan_is_taken_up_again_with_a_fresh_start(house: House, model: ScriptedModel) -> None:
    model.on("[first garbage]", lambda call: says("hm"))
    goal = house.submit("Try again later [first garbage]")
    house.until(goal, "blocked")
    model.on("[first garbage]", lambda call: None)
    with house.client() as client:
        client.resume(goal)
    house.until(goal)


def test_what_is_sent_back_says_what_is_wrong_and_a_mended_plan_goes_on(house: House, model: ScriptedModel) -> None:
    told: list[str] = []

    def mend(call: Call) -> Answer | None:
        if call.role != "plan" or call.turn != 1:
            return says("", ("submit_plan", {"subtasks": []})) if call.role == "plan" and call.turn == 0 else None
        told.append(str(call.messages[-1]["content"]))
        return says("", ("submit_plan", {"subtasks": [{**BRIEF, "write_scope": ["report.md"]}]}))

    model.on("[mended]", mend)
    goal = house.submit("Mend it [mended]", budget={"rounds": 1})
    house.until(goal, "blocked", "completed")
    assert told == ["ERROR: not accepted: the plan has no subtasks: propose at least one, or name a blocker"]
    assert [e["type"] for e in house.events(goal)].count("round.planned") == 1


BAD_SUBAGENTS: dict[str, tuple[Handler, str]] = {
    "huge digest": (lambda call: says("", ("submit_digest", {"outcome": "done", "answer": "x" * 5_000_000})), "6000"),
    "no outcome": (lambda call: says("", ("submit_digest", {"answer": "fine"})), "outcome"),
    "invented file": (
        lambda call: says("", ("submit_digest", {"outcome": "done", "answer": "ok", "artifacts": ["dream.md"]})),
        "dream.md",
    ),
    "never ends": (lambda call: says("", ("list_files", {"pattern": f"n{call.turn}*"})), "steps"),
    "refused": (lambda call: web.json_response({"error": "content filter"}, status=400), "content filter"),
}


@pytest.mark.parametrize("kind", BAD_SUBAGENTS)
def test_a_subagent_that_brings_nothing_fails_alone(house: House, model: ScriptedModel, kind: str) -> None:
    handler, words = BAD_SUBAGENTS[kind]
    marker = f"[bad subagent: {kind}]"

    def one_bad(call: Call) -> Answer | web.Response | None:
        return handler(call) if call.role != "plan" and "question 2" in call.text else None

    model.on(marker, one_bad)
    goal = house.submit(f"One of three is bad {marker}", inputs=[house.items(3)], budget={"rounds": 1})
    house.until(goal, "blocked", "completed", seconds=60)
    ended = {e["data"]["subtask"]: e["data"] for e in house.events(goal) if e["type"] == "subtask.finished"}
    assert [ended[name]["outcome"] for name in ("r1-001", "r1-002", "r1-003")] == ["done", "failed", "done"]
    with house.client() as client:
        digest = client.subtask(goal, "r1-002")["digest"]
    assert words in json.dumps(digest)


def test_tools_that_do_not_exist_and_arguments_that_do_not_fit_are_answered(house: House, model: ScriptedModel) -> None:
    heard: list[str] = []

    def stumble(call: Call) -> Answer | None:
        if call.role != "digest" or "question 1" not in call.text:
            return None
        if call.turn == 0:
            return says(
                "",
                ("teleport", {}),
                ("read_file", {"path": 7}),
                ("read_file", "{"),
                ("read_file", {"path": "../../etc/passwd"}),
            )
        heard.extend(str(m["content"]) for m in call.messages if m["role"] == "tool")
        return says("", ("submit_digest", {"outcome": "partial", "answer": "stumbled"}))

    model.on("[stumble]", stumble)
    goal = house.submit("Stumble [stumble]", inputs=[house.items(1)], budget={"rounds": 1})
    house.until(goal, "blocked", "completed")
    assert "no tool named 'teleport'" in heard[0]
    assert "path: Input should be a valid string" in heard[1]
    assert "don't fit" in heard[2]
    assert "inside the workspace" in heard[3]


def test_a_passing_rate_limit_and_a_server_error_are_waited_out(house: House, model: ScriptedModel) -> None:
    tries = {"n": 0}

    def limited(call: Call) -> web.Response | None:
        tries["n"] += 1
        if tries["n"] == 1:
            return web.json_response({"error": "slow down"}, status=429, headers={"Retry-After": "0.2"})
        if tries["n"] == 2:
            return web.json_response({"error": "oops"}, status=502)
        return None

    model.on("[limited]", limited)
    goal = house.submit("Be patient [limited]", inputs=[house.items(1)])
    house.until(goal)
    assert tries["n"] > 3


def test_a_model_that_never_meets_the_goal_is_stopped(house: House, model: ScriptedModel) -> None:
    """The loudest complaint about goal loops: they run away. Nothing changes here: a person is asked, then it stops."""

    def idle(call: Call) -> Answer | None:
        if call.role == "plan":
            return says("", ("submit_plan", {"subtasks": [BRIEF]}))
        if call.role == "digest":
            return says("", ("submit_digest", {"outcome": "done", "answer": "all is done, the goal is complete!"}))
        return None

    model.on("[runaway]", idle)
    goal = house.submit(
        "Claim to be done for ever [runaway]",
        criteria=[{"text": "out.txt is there", "check": {"kind": "file", "path": "out.txt"}}],
    )
    shown = house.until(goal, "blocked")
    assert (shown["reason"], shown["round"]) == ("question", 4)
    with house.client() as client:
        (question,) = [q for q in client.inbox() if q["goal"] == goal]
        assert "brought no progress" in question["text"] and "there is no file out.txt" in question["text"]
        client.answer(question["id"], "go on")
    shown = house.until(goal, "blocked", "completed")
    assert (shown["reason"], shown["round"]) == ("stalled", 4)
    assert shown["criteria"][0]["status"] == "not_met"
