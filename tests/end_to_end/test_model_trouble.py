"""Rate limits, quotas, broken streams, refused keys: nothing is lost, nothing is paid twice, nothing is silent."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from pursuit.client import Client
from tests.house import House, audit_events, eventually, paid_by
from tests.scripted import Answer, Call, ScriptedModel, Stream, says


def refusal(status: int, text: str, after: float | None = None, **fields: Any) -> web.Response:
    headers = {} if after is None else {"Retry-After": str(after)}
    return web.json_response({"error": {"message": text, **fields}}, status=status, headers=headers)


class Script:
    """Refuses calls as told, and remembers when each came."""

    def __init__(self, model: ScriptedModel, marker: str) -> None:
        self.times: list[float] = []
        self.turns: Counter[str] = Counter()
        self.refuse: web.Response | None = None
        self.reply = self._none
        model.on(marker, self)

    def _none(self, call: Call) -> Any:
        return None

    def __call__(self, call: Call) -> Any:
        self.times.append(time.monotonic())
        answer = self.reply(call)
        if not isinstance(answer, web.Response):
            self.turns[f"{call.text} {call.turn}"] += 1
        return answer


def test_a_rate_limit_is_obeyed_by_all_and_shown_with_its_time_left(
    house: House, client: Client, model: ScriptedModel
) -> None:
    script = Script(model, "[rate]")
    limited: list[float] = []

    def once(call: Call) -> web.Response | None:
        if call.role == "digest" and (not limited or time.monotonic() - limited[0] < 0.3):
            limited.append(time.monotonic())
            return refusal(429, "slow down", 4)
        return None

    script.reply = once
    goal = house.submit("Be limited [rate]", inputs=[house.items(20)], models=paid_by("spare-2"))
    shown = eventually(lambda: client.subtasks(goal, state="rate_limited")["items"], seconds=20)
    assert 0 < shown[0]["limited_seconds"] <= 5 and shown[0]["limited_why"] == "rate"
    assert house.goal(goal)["status"] == "running"
    house.until(goal)
    quiet = [t for t in script.times if limited[-1] + 0.5 < t < limited[0] + 3.8]
    assert not quiet, "Retry-After holds for every sub-agent in every worker"
    events = house.events(goal)
    audit_events(events)
    assert any(e["type"] == "subtask.waiting" and e["data"]["why"] == "rate limited" for e in events)
    assert set(script.turns.values()) == {1}, "a refused call isn't paid, and no other is made twice"


def test_a_used_up_quota_stops_the_swarm_at_once_and_it_wakes_by_itself(
    house: House, client: Client, model: ScriptedModel
) -> None:
    """kimi-code#2389: 13 agents killed, silent for hours; claude-code#94012: 133 started after the first death."""
    script, reset = Script(model, "[quota]"), [0.0]

    def exhausted(call: Call) -> web.Response | None:
        if call.role == "digest" and len(script.times) > 12 and not reset[0]:
            reset[0] = time.time() + 6
        if time.time() < reset[0]:
            return refusal(429, "You exceeded your current quota", resets_at=reset[0])
        return None

    script.reply = exhausted
    goal = house.submit("Run dry [quota]", inputs=[house.items(40)], models=paid_by("spare-3"))
    shown = house.until(goal, "waiting", seconds=30)
    waiting_since = time.monotonic()
    assert (shown["reason"], "quota" in shown["now"]) == ("quota", True)
    assert shown["wake_at"] is not None
    time.sleep(1)
    before = len(script.times)
    time.sleep(2.5)
    assert len(script.times) == before, "nothing is spent while the goal waits"
    assert house.goal(goal)["status"] == "waiting"
    house.until(goal, seconds=60)
    assert [t for t in script.times if waiting_since + 1 < t < waiting_since + 4] == []
    events = house.events(goal)
    audit_events(events)
    house.audit(goal)
    ended = [e["data"]["outcome"] for e in events if e["type"] == "subtask.finished"]
    assert ended == ["done"] * len(ended) and len(ended) >= 40, "no sub-agent died of it"
    assert set(script.turns.values()) == {1}, "and none paid for a step twice"


def test_a_person_who_has_paid_need_not_wait_for_the_reset(house: House, client: Client, model: ScriptedModel) -> None:
    script = Script(model, "[paid up]")
    script.reply = lambda call: refusal(402, "insufficient balance")
    goal = house.submit("Pay [paid up]", models=paid_by("spare-4"))
    shown = house.until(goal, "waiting", seconds=20)
    assert "insufficient balance" in shown["detail"]
    script.reply = lambda call: None
    assert client.resume(goal)["changed"]
    house.until(goal, seconds=30)


def test_a_refused_key_blocks_all_goals_of_the_account_without_another_call(
    house: House, client: Client, model: ScriptedModel
) -> None:
    script = Script(model, "[bad key]")
    script.reply = lambda call: refusal(401, "invalid api key")
    first = house.submit("Be refused [bad key]", models=paid_by("spare-5"))
    assert house.until(first, "blocked", seconds=20)["reason"] == "configuration"
    second = house.submit("Be refused as well [bad key]", models=paid_by("spare-5"))
    assert "invalid api key" in house.until(second, "blocked", seconds=20)["detail"]
    assert len(script.times) == 1
    script.reply = lambda call: None
    client.resume(first)
    client.resume(second)
    house.until(first)
    house.until(second)


@pytest.mark.parametrize("trouble", ["cut", "stalls"])
def test_a_stream_that_breaks_is_asked_for_again_and_all_it_used_counts(
    house: House, model: ScriptedModel, trouble: str
) -> None:
    marker, broken = f"[{trouble}]", []

    def break_once(call: Call) -> Stream | None:
        if call.role == "digest" and call.turn == 1 and len(broken) < 2:
            broken.append(call.text)
            return Stream(call.rehearse(), cut=trouble == "cut", stalls=20 if trouble == "stalls" else 0)
        return None

    model.on(marker, break_once)
    goal = house.submit(f"Break {marker}", inputs=[house.items(3)])
    shown = house.until(goal, seconds=60)
    assert len(broken) == 2
    assert model.calls[marker] == shown["usage"]["steps"] + 2
    if trouble == "cut":
        assert shown["usage"]["tokens_in"] > 100 * shown["usage"]["steps"], "half an answer is billed too"


def test_a_model_that_is_unknown_blocks_with_what_to_write(house: House) -> None:
    goal = house.submit("Use what isn't there", models={"planner": "nobody:x"})
    shown = house.until(goal, "blocked", seconds=20)
    assert shown["reason"] == "configuration" and "no model" in shown["detail"]


class Slow:
    """Answers one role after a long while, and notes when its caller hangs up."""

    def __init__(self, model: ScriptedModel, marker: str, seconds: float = 60) -> None:
        self.began, self.hung_up, self.seconds = [], [], seconds  # type: ignore[var-annotated]
        model.on(marker, self)

    async def __call__(self, call: Call) -> Answer | None:
        if call.role != "digest":
            return None
        self.began.append(time.monotonic())
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.hung_up.append(time.monotonic())
            raise
        return None


def test_cancelling_cuts_calls_in_flight_within_a_second(house: House, client: Client, model: ScriptedModel) -> None:
    slow = Slow(model, "[cut short]")
    goal = house.submit("Be cancelled [cut short]", inputs=[house.items(10)])
    eventually(lambda: len(slow.began) >= 10, seconds=20)
    cancelled = time.monotonic()
    client.cancel(goal)
    eventually(lambda: len(slow.hung_up) >= 10, seconds=5)
    assert max(slow.hung_up) - cancelled < 1.3  # and a little for a busy machine
    time.sleep(0.5)
    assert len(slow.began) == 10


def test_pausing_cuts_at_once_what_only_waits_for_its_turn(house: House, client: Client, model: ScriptedModel) -> None:
    script = Script(model, "[pause while limited]")
    script.reply = lambda call: refusal(429, "slow down", 50) if call.role == "digest" else None
    goal = house.submit("Wait [pause while limited]", inputs=[house.items(6)], models=paid_by("spare-6"))
    eventually(lambda: len(client.subtasks(goal, state="rate_limited")["items"]) == 6, seconds=20)
    asked = time.monotonic()
    client.pause(goal)
    house.until(goal, "paused", seconds=5)
    assert time.monotonic() - asked < 3
    script.reply = lambda call: None
    client.cancel(goal)


def test_a_pause_lets_a_call_that_is_paid_for_come_to_its_end(
    house: House, client: Client, model: ScriptedModel
) -> None:
    slow = Slow(model, "[let it end]", seconds=3)
    goal = house.submit("End the step [let it end]", inputs=[house.items(4)])
    eventually(lambda: len(slow.began) >= 4, seconds=20)
    client.pause(goal)
    house.until(goal, "paused", seconds=10)
    assert slow.hung_up == []
    slow.seconds = 0
    client.resume(goal)
    shown = house.until(goal)
    assert shown["usage"]["steps"] == model.calls["[let it end]"], "no step is paid for twice"


def test_guidance_in_the_middle_of_a_call_is_heard_before_anything_is_handed_in(
    house: House, client: Client, model: ScriptedModel
) -> None:
    asked = []

    async def hurry(call: Call) -> Answer | None:
        if call.role != "digest":
            return None
        heard = any("stop at once" in str(m["content"]) for m in call.messages)
        asked.append(heard)
        if not heard:
            await asyncio.sleep(2.5)
        return says("", ("submit_digest", {"outcome": "done", "answer": "heard" if heard else "deaf"}))

    model.on("[mid-call]", hurry)
    goal = house.submit("Listen [mid-call]", inputs=[house.items(1)], budget={"rounds": 1})
    eventually(lambda: asked, seconds=20)
    client.guide(goal, "stop at once")
    house.until(goal, "blocked", "completed")
    with house.client() as reader:
        assert reader.subtask(goal, "r1-001")["digest"]["answer"] == "heard"


def test_money_is_capped_and_more_of_it_takes_the_goal_up_again(
    house: House, client: Client, model: ScriptedModel
) -> None:
    """Prices of the spare accounts: a call of 100 tokens in, 10 out costs 0.0002 dollars."""
    goal = house.submit(
        "Spend [money]", inputs=[house.items(120)], models=paid_by("spare-7"), budget={"usd": 0.05, "rounds": 9}
    )
    shown = house.until(goal, "blocked", seconds=60)
    assert (shown["reason"] == "budget" and "money" in shown["detail"]) or "dollars" in shown["detail"]
    assert 0.02 < shown["usage"]["usd"] <= 0.05 + 0.0002
    assert shown["usage"]["usd"] == pytest.approx(shown["usage"]["steps"] * 0.0002)
    report = client.report_text(goal)
    assert "Closing report" in report and "In short: some of it is done." in report, "a part was kept to pay for it"
    client.resume(goal, add_budget={"usd": 5})
    house.until(goal, seconds=60)


def test_money_cannot_be_capped_where_prices_are_not_known(house: House) -> None:
    goal = house.submit("Spend blindly", budget={"usd": 1})
    shown = house.until(goal, "blocked", seconds=20)
    assert shown["reason"] == "configuration" and "price" in shown["detail"]
