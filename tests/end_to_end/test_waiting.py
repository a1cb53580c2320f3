"""Waiting at no cost: for a time, an address, a command, another goal; never for ever."""

from __future__ import annotations

import pytest

from pursuit.client import Client
from pursuit.errors import InvalidField
from tests.end_to_end.play import by_role, goal_of, one_file, plan, says_wait, subtask, writer
from tests.end_to_end.test_judging import Site, site
from tests.house import House, audit_events, eventually
from tests.scripted import Answer, Call, ScriptedModel

__all__ = ["site"]
THERE = [{"text": "there", "check": {"kind": "file", "path": "out.md"}}]


def test_a_goal_waits_for_an_address_and_asks_no_model_meanwhile(house: House, model: ScriptedModel, site: str) -> None:
    waited: list[str] = []

    def planner(call: Call) -> Answer:
        waited.append(goal_of(call)["waited"])
        return plan(subtask("write it", write_scope=["out.md"]))

    model.on("[address]", by_role(planner=planner, worker=writer()))
    wait = {"kind": "http", "url": site, "seconds": 1, "why": "the service to be up"}
    goal = house.submit("Begin when it is up [address]", criteria=THERE, wait_for=wait)
    shown = house.until(goal, "waiting")
    assert shown["reason"] == "probe" and "the service to be up" in shown["now"]
    eventually(lambda: Site.asked >= 3)
    shown = house.goal(goal)
    assert model.calls["[address]"] == 0 and shown["usage"]["steps"] == 0
    assert "status 503" in shown["detail"]
    Site.up.set()
    house.until(goal)
    assert "came about: the service to be up" in waited[0]
    audit_events(house.events(goal))
    house.audit(goal)


def test_a_planner_lets_the_goal_wait_for_a_time_and_plans_on_when_it_is_over(
    house: House, model: ScriptedModel, client: Client
) -> None:
    told: list[str | None] = []

    def planner(call: Call) -> Answer:
        told.append(goal_of(call)["waited"])
        if len(told) == 1:
            return says_wait(kind="timer", seconds=5, why="the tide")
        return plan(subtask("write it", write_scope=["out.md"]))

    model.on("[tide]", by_role(planner=planner, worker=writer()))
    goal = house.submit("Cross at low tide [tide]", criteria=THERE)
    shown = house.until(goal, "waiting")
    assert shown["reason"] == "timer" and shown["wake_at"] and shown["wait"]["seconds"] == 5
    done = house.until(goal)
    assert told == [None, "waited for the tide"] and done["round"] == 1 and done["wait"] is None
    house.audit(goal)


def test_what_never_comes_about_is_waited_for_no_longer_than_allowed(
    house: House, model: ScriptedModel, client: Client
) -> None:
    told: list[str] = []

    def planner(call: Call) -> Answer:
        told.append(str(goal_of(call)["waited"]))
        return plan(subtask("write it", write_scope=["out.md"]))

    model.on("[never]", by_role(planner=planner, worker=writer()))
    wait = {"kind": "command", "command": "test -f never.md", "seconds": 1, "most_seconds": 2}
    goal = house.submit("Never mind [never]", criteria=THERE, wait_for=wait)
    house.until(goal)
    assert "did not come about within 2 seconds" in told[0] and "exit code 1" in told[0]


def test_a_goal_begins_after_another_has_come_to_its_end(house: House, model: ScriptedModel, client: Client) -> None:
    model.on("[first]", by_role(planner=one_file(), worker=writer()))
    model.on("[second]", by_role(planner=one_file(), worker=writer()))
    first = house.submit("First [first]", criteria=[{"text": "signed", "check": {"kind": "human"}}])
    house.until(first, "blocked")
    second = house.submit("Second [second]", criteria=THERE, after_goal=first)
    assert house.until(second, "waiting")["reason"] == "after_goal"
    assert model.calls["[second]"] == 0
    client.accept(first)
    house.until(second, seconds=30)


def test_a_goal_to_wait_for_must_be_there(client: Client) -> None:
    with pytest.raises(InvalidField, match="no goal"):
        client.submit({"objective": "x", "after_goal": "goal_01JDXNEVERWASTHERE00000000"})


def test_a_model_that_only_ever_waits_is_refused_what_is_no_wait(house: House, model: ScriptedModel) -> None:
    model.on("[no wait]", by_role(planner=lambda call: says_wait(kind="command", command="sleep 1")))
    goal = house.submit("Wait for a command [no wait]", criteria=THERE)
    blocked = house.until(goal, "blocked")
    assert blocked["reason"] == "configuration" and "runs no commands of models" in blocked["detail"]


def test_a_model_cannot_wait_for_what_only_people_may_reach(house: House, model: ScriptedModel, site: str) -> None:
    told: list[str] = []

    def planner(call: Call) -> Answer:
        told.append(str(goal_of(call)["waited"]))
        if len(told) == 1:
            return says_wait(kind="http", url=site, seconds=1, most_seconds=1, by="person")
        return plan(subtask("write it", write_scope=["out.md"]))

    model.on("[reach]", by_role(planner=planner, worker=writer()))
    Site.up.set()
    house.until(house.submit("Reach in [reach]", criteria=THERE))
    assert "not a public address" in told[1] and Site.asked == 0
