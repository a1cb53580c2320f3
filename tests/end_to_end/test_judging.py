"""Verification: judges that look, judges that don't, panels, checks that are broken; nothing unseen is met."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from pursuit.client import Client
from tests.end_to_end.play import by_role, careful, one_file, plan, reads, subtask, verdict, writer
from tests.house import House, audit_events, paid_by
from tests.scripted import Answer, Call, ScriptedModel, says

GOOD = [{"text": "it is good"}]


def test_a_lazy_judge_is_sent_back_until_it_has_looked(house: House, model: ScriptedModel, client: Client) -> None:
    told: list[str] = []

    def lazy(call: Call) -> Answer:
        if call.turn == 0:
            return verdict(c1="met")  # names out.md as seen, and has never opened it
        told.append(str(call.messages[-1]["content"]))
        return reads("out.md") if call.turn == 1 else verdict(c1="met")

    model.on("[lazy]", by_role(planner=one_file(), worker=writer(), judge=lazy))
    goal = house.submit("Be good [lazy]", criteria=GOOD)
    house.until(goal)
    assert "c1 can't be `met` unseen" in told[0]
    (finding,) = client.rounds(goal)["items"][0]["verdict"]["findings"]
    assert finding["seen"] == ["out.md"] and finding["state"]


def test_a_judge_that_never_looks_completes_nothing(house: House, model: ScriptedModel, client: Client) -> None:
    model.on("[blind]", by_role(planner=one_file(), worker=writer(), judge=lambda call: verdict(c1="met")))
    goal = house.submit("Be good [blind]", criteria=GOOD)
    shown = house.until(goal, "blocked")
    assert shown["reason"] == "configuration" and "unseen" in shown["detail"]
    assert shown["criteria"][0]["status"] == "not_verified"


def test_of_a_panel_more_than_half_must_agree_and_dissent_is_recorded(
    house: House, model: ScriptedModel, client: Client
) -> None:
    votes = {"key-number-2": "met", "key-number-3": "not_met", "key-number-4": "met"}
    asked: list[str] = []

    def judge(call: Call) -> Answer:
        asked.append(call.key)
        verdict_now = votes[call.key] if rounds["n"] > 1 or call.key != "key-number-4" else "cannot_tell"
        return reads("out.md") if call.turn == 0 else verdict(c1=verdict_now)

    rounds = {"n": 0}

    def planner(call: Call) -> Answer:
        rounds["n"] += 1
        return plan(subtask("write it", write_scope=["out.md"]))

    def worker(call: Call) -> Answer | None:
        return writer(content=lambda call: f"version {rounds['n']}")(call)

    model.on("[panel]", by_role(planner=planner, worker=worker, judge=judge))
    panel = ["spare-2", "spare-3", "spare-4"]
    goal = house.submit("Be good [panel]", criteria=GOOD, models={**paid_by("spare-2"), "panel": panel})
    done = house.until(goal)
    assert done["round"] == 2
    first, second = (r["verdict"]["findings"][0] for r in client.rounds(goal)["items"])
    assert first["status"] != "met" and any("judge 1: met" in text for text in first["dissent"])
    assert second["status"] == "met"
    assert second["dissent"] == ["judge 2: not_met: as scripted"]
    assert [asked.count(key) for key in votes] == [4, 4, 4], "each looks and finds, in each round, once"
    kinds = [step["kind"] for step in client.steps(goal, "r2-verify")["items"]]
    assert kinds.count("answer") == 6, "the transcript has all of them"


def test_a_judge_is_not_asked_again_about_what_has_not_changed(
    house: House, model: ScriptedModel, client: Client
) -> None:
    asked: list[list[str]] = []

    def judge(call: Call) -> Answer:
        from tests.end_to_end.test_contracts import asked as names

        if call.turn == 0:
            asked.append(names(call))
            return reads("out.md")
        found = {name: "met" if name == "c1" or len(asked) > 1 else "not_met" for name in names(call)}
        return verdict(**found)

    # the second round changes nothing: c1 is met as it was, and only c2 is looked at again
    model.on("[again]", by_role(planner=one_file(), worker=writer(content=lambda call: "same"), judge=judge))
    goal = house.submit("Be good twice [again]", criteria=[{"text": "good"}, {"text": "short"}])
    house.until(goal)
    assert asked == [["c1", "c2"], ["c2"]]


def test_a_broken_check_is_no_failure_of_the_work_and_ends_as_a_matter_of_configuration(
    house: House, model: ScriptedModel, client: Client
) -> None:
    model.on("[broken check]", by_role(planner=one_file(), worker=writer(content=lambda call: "same")))
    criteria = [{"text": "it passes", "check": {"kind": "command", "command": "no-such-program --now"}}]
    goal = house.submit("Pass [broken check]", criteria=criteria)
    blocked = house.until(goal, "blocked")
    assert blocked["reason"] == "question"
    (question,) = [q for q in client.inbox() if q["goal"] == goal]
    client.answer(question["id"], "go on")
    blocked = house.until(goal, "blocked")
    assert blocked["reason"] == "configuration" and "no-such-program" in blocked["detail"]
    assert blocked["criteria"][0]["status"] == "cannot_tell"
    assert blocked["criteria"][0]["evidence"]["trouble"] == "broken"
    # a person mends the check; the goal is taken up by that, and completes
    mended = {"id": "c1", "text": "it passes", "check": {"kind": "command", "command": "test -f out.md"}}
    client.amend(goal, {"criteria": [mended]})
    house.until(goal)
    audit_events(house.events(goal))
    house.audit(goal)


def test_a_check_changes_nothing_and_finds_what_it_expects_as_it_was(
    house: House, model: ScriptedModel, client: Client
) -> None:
    source = house.folder / "pristine"
    (source / "expected").mkdir(parents=True)
    (source / "expected" / "answer.txt").write_text("42")

    def worker(call: Call) -> Answer | None:
        if call.turn == 0:  # makes what is expected agree with what it has
            return says("", *(("write_file", {"path": p, "content": "41"}) for p in FILES))
        return writer()(call)

    model.on(
        "[pristine]",
        by_role(planner=lambda call: plan(subtask("answer", write_scope=["job"])), worker=worker),
    )
    check = "echo spoilt > job/answer.txt; cmp job/answer.txt job/expected/answer.txt"
    honest = "cmp job/answer.txt job/expected/answer.txt"
    goal = house.submit(
        "Answer [pristine]",
        inputs=[{"path": str(source), "name": "job", "edit": True}],
        criteria=[
            {"text": "right", "check": {"kind": "command", "command": honest, "pristine": ["job/expected"]}},
            {"text": "unspoilt", "check": {"kind": "command", "command": check}},
        ],
        budget={"rounds": 1},
    )
    blocked = house.until(goal, "blocked")
    assert [c["status"] for c in blocked["criteria"]] == ["not_met", "not_met"]
    assert "differ" in blocked["criteria"][0]["evidence"]["output"]
    files = {a["path"]: a for a in client.artifacts(goal)}
    assert files["job/answer.txt"]["size"] == 2, "the check wrote into a copy"


FILES = ("job/answer.txt", "job/expected/answer.txt")


class Site(BaseHTTPRequestHandler):
    """A service that comes up in its own time."""

    up = threading.Event()
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(200 if self.up.is_set() else 503)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"status": "ready", "version": 3}')

    def log_message(self, *_: Any) -> None:
        return None


@pytest.fixture
def site() -> Iterator[str]:
    Site.up, Site.asked = threading.Event(), 0
    server = HTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/health"
    server.shutdown()
    server.server_close()


def test_an_http_check_and_a_schema_hold_the_world_against_the_contract(
    house: House, model: ScriptedModel, client: Client, site: str
) -> None:
    Site.up.set()
    schema = {"type": "object", "required": ["status"], "properties": {"version": {"minimum": 3}}}
    model.on("[http]", by_role(planner=one_file("out.json"), worker=writer("out.json", lambda call: '{"status": 1}')))
    goal = house.submit(
        "Serve it [http]",
        criteria=[
            {"text": "it answers", "check": {"kind": "http", "url": site, "json_schema": schema, "pattern": "ready"}},
            {"text": "it is JSON", "check": {"kind": "file", "path": "out.json", "json_schema": schema}},
            {"text": "no secrets", "check": {"kind": "file", "path": "out.json", "absent": "password"}},
            {"text": "not four", "check": {"kind": "http", "url": site, "json_schema": {"required": ["four"]}}},
        ],
        budget={"rounds": 1},
    )
    blocked = house.until(goal, "blocked")
    assert [c["status"] for c in blocked["criteria"]] == ["met", "met", "met", "not_met"]
    assert "'four' is a required property" in blocked["criteria"][3]["evidence"]["output"]


def test_a_finding_that_waits_lets_the_goal_wait_without_a_model(
    house: House, model: ScriptedModel, client: Client
) -> None:
    def judge(call: Call) -> Answer:
        if call.turn == 0:
            return reads("out.md")
        if rounds["n"] == 1:
            wait = {"kind": "timer", "seconds": 3, "why": "the night's figures"}
            found = [{"criterion": "c1", "status": "waiting", "why": "too early", "wait": wait}]
            return says("", ("submit_verdict", {"findings": found}))
        return verdict(c1="met")

    rounds = {"n": 0}

    def planner(call: Call) -> Answer:
        rounds["n"] += 1
        return plan(subtask("write it", write_scope=["out.md"]))

    model.on("[early]", by_role(planner=planner, worker=writer(), judge=judge))
    goal = house.submit("Report the night [early]", criteria=GOOD)
    waiting = house.until(goal, "waiting")
    assert (waiting["reason"], waiting["round"]) == ("timer", 2) and "the night's figures" in waiting["now"]
    calls = model.calls["[early]"]
    house.until(goal, "running", "completed")
    assert model.calls["[early]"] <= calls + 1, "nobody was asked while it waited"
    house.until(goal)
    house.audit(goal)


def test_a_judge_whose_files_moved_on_judges_anew(house: House, model: ScriptedModel, client: Client) -> None:
    model.on(
        "[stale]",
        by_role(planner=one_file(), worker=writer(content=lambda call: "one"), judge=careful(c1="met", c2="not_met")),
    )
    goal = house.submit("Stale? [stale]", criteria=[{"text": "a"}, {"text": "b"}], budget={"rounds": 1})
    blocked = house.until(goal, "blocked")
    assert [(c["status"], c["fresh"]) for c in blocked["criteria"]] == [("met", True), ("not_met", True)]
    amended = client.amend(goal, {"constraints": ["be brief"], "budget": {"rounds": 1}})
    assert [c["fresh"] for c in amended["criteria"]] == [False, False], "another revision: what was met says nothing"
