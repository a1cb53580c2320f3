"""A goal of many rounds: the old ones leave Redis and can be looked at as before."""

from __future__ import annotations

from redis import Redis

from pursuit.client import Client
from tests.house import House, audit_events
from tests.scripted import Answer, Call, ScriptedModel, says


def test_old_rounds_leave_redis_and_are_shown_as_before(house: House, client: Client, model: ScriptedModel) -> None:
    def always_something_new(call: Call) -> Answer | None:
        if call.role == "plan":
            number = call.text.partition('"round": ')[2].partition(",")[0]
            brief = {"title": f"part {number}", "objective": f"Write part {number}", "write_scope": [f"{number}.md"]}
            return says("", ("submit_plan", {"approach": f"part {number}", "subtasks": [brief]}))
        if call.role == "digest" and call.turn == 0:
            number = call.text.partition("Write part ")[2].partition('"')[0]
            return says("", ("write_file", {"path": f"{number}.md", "content": f"part {number}"}))
        if call.role == "digest":
            return says("", ("submit_digest", {"outcome": "done", "answer": "written"}))
        return None

    model.on("[rounds]", always_something_new)
    check = {"kind": "file", "path": "7.md"}
    goal = house.submit("Seven parts [rounds]", criteria=[{"text": "the seventh", "check": check}])
    shown = house.until(goal, "completed", seconds=60)
    assert shown["round"] == 7
    audit_events(house.events(goal))
    house.audit(goal)
    with Redis.from_url(house.redis_url, decode_responses=True) as redis:
        kept = {key.rpartition(":")[2] for key in redis.keys(f"*goal:{goal}:jobs:*")}
        assert kept == {"4", "5", "6", "7"}, "rounds 1 to 3 are summaries"
    rounds = client.rounds(goal)["items"]
    assert [r["plan"]["approach"] for r in rounds] == [f"part {n}" for n in range(1, 8)]
    assert [r["subtasks"] for r in rounds] == [{"done": 1}] * 7
    subtask = client.subtask(goal, "r1-001")
    assert subtask["digest"]["answer"] == "written" and subtask["brief"]["title"] == "part 1"
    assert client.steps(goal, "r1-001")["items"][0]["kind"] == "answer"
    assert len(client.subtasks(goal, round=2)["items"]) == 1
    assert "part 1" in client.report_text(goal)
