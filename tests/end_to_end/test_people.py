"""A person steps in: pauses, resumes, cancels, answers a question."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from pursuit.client import Client
from pursuit.errors import AlreadyAnswered, IllegalTransition
from tests.house import House, audit_events, eventually
from tests.scripted import Answer, Call, ScriptedModel, says


@pytest.fixture
def slow(model: ScriptedModel) -> Iterator[None]:
    model.delay = 0.5
    yield
    model.delay = 0


@pytest.mark.usefixtures("slow")
def test_a_paused_goal_stops_within_a_step_and_goes_on_where_it_was(
    house: House, client: Client, model: ScriptedModel
) -> None:
    model.on("[pausing]", lambda call: None)
    goal = house.submit("Take a break [pausing]", inputs=[house.items(30)])
    eventually(lambda: client.subtasks(goal, state="leased")["items"], seconds=20)
    assert client.pause(goal, reason="lunch")["changed"]
    house.until(goal, "paused", seconds=20)
    calls = model.calls["[pausing]"]
    time.sleep(2)
    assert model.calls["[pausing]"] == calls, "a paused goal costs nothing"
    assert not client.pause(goal)["changed"]
    assert client.resume(goal)["status"] == "running"
    house.until(goal)
    events = house.events(goal)
    audit_events(events)
    assert model.calls["[pausing]"] == house.goal(goal)["usage"]["steps"], "no call was made twice"


@pytest.mark.usefixtures("slow")
def test_pausing_after_the_round_lets_it_come_to_its_end(house: House, client: Client) -> None:
    goal = house.submit("Stop between rounds", inputs=[house.items(5)])
    eventually(lambda: client.subtasks(goal, state="leased")["items"], seconds=20)
    client.pause(goal, mode="after_round")
    shown = house.until(goal, "paused")
    assert shown["round"] == 2
    assert client.rounds(goal)["items"][0]["subtasks"] == {"done": 5}
    client.resume(goal)
    house.until(goal)


@pytest.mark.usefixtures("slow")
def test_a_cancelled_goal_is_quiet_within_seconds(house: House, client: Client, model: ScriptedModel) -> None:
    model.on("[cancelled]", lambda call: None)
    goal = house.submit("Stop it [cancelled]", inputs=[house.items(30)])
    eventually(lambda: client.subtasks(goal, state="leased")["items"], seconds=20)
    assert client.cancel(goal, reason="too dear")["status"] == "cancelled"
    time.sleep(1.5)
    calls = model.calls["[cancelled]"]
    time.sleep(1.5)
    assert model.calls["[cancelled]"] == calls
    audit_events(house.events(goal))
    with pytest.raises(IllegalTransition):
        client.resume(goal)
    assert "too dear" in house.goal(goal)["now"]


def test_cancelling_needs_no_worker(own_house: House) -> None:
    for name in ("subagents1", "subagents2", "rounds"):
        own_house.kill(name)
    goal = own_house.submit("Nobody is there to do it")
    with own_house.client() as client:
        assert client.cancel(goal)["status"] == "cancelled"
        assert client.goal(goal)["status"] == "cancelled"


def test_a_question_parks_its_subagent_until_a_person_answers(
    house: House, client: Client, model: ScriptedModel
) -> None:
    def ask(call: Call) -> Answer | None:
        if call.role != "digest" or '"question 1"' not in call.text:
            return None
        if call.turn == 0:
            return says("", ("ask_person", {"question": "Which year?", "options": ["2024", "2025"]}))
        year = call.messages[-1]["content"]
        return says("", ("submit_digest", {"outcome": "done", "answer": f"about {year}"}))

    model.on("[asking]", ask)
    goal = house.submit("Ask a person [asking]", inputs=[house.items(3)], budget={"rounds": 1})
    shown = house.until(goal, "blocked")
    assert shown["reason"] == "question"
    assert client.rounds(goal)["items"][0]["subtasks"] == {"done": 2, "parked": 1}, "the others went on"
    (question,) = [q for q in client.inbox() if q["goal"] == goal]
    assert (question["text"], question["options"]) == ("Which year?", ["2024", "2025"])
    client.answer(question["id"], "2025")
    client.answer(question["id"], "2025")  # the same again changes nothing
    with pytest.raises(AlreadyAnswered):
        client.answer(question["id"], "1999")
    house.until(goal, "blocked", "completed")
    assert client.subtask(goal, "r1-001")["digest"]["answer"] == "about 2025"
    assert model.calls["[asking]"] == house.goal(goal)["usage"]["steps"]
    audit_events(house.events(goal))


def test_a_goal_without_rounds_left_goes_on_with_a_larger_budget(house: House, client: Client) -> None:
    goal = house.submit("One round isn't enough", inputs=[house.items(2)], budget={"rounds": 1})
    shown = house.until(goal, "blocked")
    assert shown["reason"] == "budget"
    client.resume(goal, add_budget={"rounds": 3})
    assert house.until(goal)["budget"]["rounds"] == 4


def test_steps_are_a_limit_for_the_whole_swarm(house: House) -> None:
    goal = house.submit("Forty steps", inputs=[house.items(60)], budget={"steps": 40})
    shown = house.until(goal, "blocked")
    assert shown["reason"] == "budget"
    assert 30 <= shown["usage"]["steps"] <= 40, "each call is reserved before it is made"


@pytest.mark.usefixtures("slow")
def test_guidance_reaches_running_subagents_and_the_next_plan(
    house: House, client: Client, model: ScriptedModel
) -> None:
    heard: dict[str, set[str]] = {"plan": set(), "digest": set()}

    def listen(call: Call) -> None:
        said = " ".join(str(message["content"]) for message in call.messages)
        if call.role in heard and "Prefer primary sources" in said:
            heard[call.role].add(call.text)
        if call.role == "digest" and "Only for the first" in said:
            heard.setdefault("first", set()).add(call.text)

    model.on("[guided]", listen)
    goal = house.submit("Take advice [guided]", inputs=[house.items(6)])
    eventually(lambda: client.subtasks(goal, state="leased")["items"], seconds=20)
    assert client.guide(goal, "Prefer primary sources")["changed"]
    client.guide(goal, "Only for the first", subtask="r1-001")
    house.until(goal)
    assert len(heard["digest"]) >= 6, "every running sub-agent hears it with its next step"
    assert heard["plan"], "and so does the next plan"
    assert {'"r1-001"' in text for text in heard["first"]} == {True}
    events = house.events(goal)
    audit_events(events)
    assert [e["data"]["text"] for e in events if e["type"] == "goal.guidance"] == [
        "Prefer primary sources",
        "Only for the first",
    ]
    assert model.calls["[guided]"] == house.goal(goal)["usage"]["steps"]
