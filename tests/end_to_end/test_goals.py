"""Whole goals on the real engine: wide ones, several at once, many queued."""

from __future__ import annotations

from pursuit.client import Client
from tests.house import House, audit_events


def test_a_goal_is_planned_fanned_out_verified_and_completed(house: House, client: Client) -> None:
    goal = house.submit("Describe these questions", inputs=[house.items(5)])
    shown = house.until(goal)
    assert (shown["status"], shown["reason"], shown["round"]) == ("completed", "met", 2)
    assert [c["status"] for c in shown["criteria"]] == ["met"]
    events = house.events(goal)
    audit_events(events)
    assert [e["data"]["outcome"] for e in events if e["type"] == "subtask.finished"] == ["done"] * 6
    rounds = client.rounds(goal)["items"]
    assert [r["subtasks"] for r in rounds] == [{"done": 5}, {"done": 1}]
    assert [r["decision"]["kind"] for r in rounds] == ["continue", "complete"]


def test_each_round_is_a_chord_whose_body_verifies(house: House) -> None:
    goal = house.submit("Look at these by chord", inputs=[house.items(3)])
    house.until(goal)
    # with the chord's body in time no sweeper has published anything: each job was dispatched once, by its message
    from redis import Redis

    with Redis.from_url(house.redis_url, decode_responses=True) as redis:
        (base,) = redis.keys(f"*goal:{goal}")
        jobs = [text for n in (1, 2) for text in redis.hvals(f"{base}:jobs:{n}")]
    assert len(jobs) == 8
    assert all('"dispatches":0' in text for text in jobs)


def test_300_subtasks_in_one_round(house: House, client: Client) -> None:
    goal = house.submit("Three hundred questions", inputs=[house.items(300)])
    shown = house.until(goal, seconds=120)
    assert shown["usage"]["subagents"] == 301
    audit_events(house.events(goal))
    assert client.rounds(goal)["items"][0]["subtasks"] == {"done": 300}
    assert len(client.artifacts(goal)) == 301


def test_two_goals_at_once(house: House) -> None:
    goals = [house.submit(f"Side by side {n}", inputs=[house.items(40)]) for n in (1, 2)]
    for goal in goals:
        house.until(goal)
        audit_events(house.events(goal))


def test_100_goals_queued(house: House, client: Client) -> None:
    goals = [house.submit(f"Queued number {n}", labels={"suite": "queued"}) for n in range(100)]
    for goal in goals:
        house.until(goal, seconds=120)
    page = client.goals(label="suite=queued", status="completed", limit=200)
    assert len(page["items"]) == 100
