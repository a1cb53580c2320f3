"""Bad input over HTTP: problem documents that name the field and the cure, never a 500, nothing half-created."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.house import House

GOOD = {"objective": "Find three sources"}
BAD_BODIES: dict[str, tuple[Any, int, str]] = {
    "empty objective": ({"objective": ""}, 422, "objective"),
    "blank objective": ({"objective": "  \n "}, 422, "objective"),
    "no objective": ({}, 422, "objective"),
    "oversized objective": ({"objective": "x" * 20_001}, 422, "objective"),
    "wrong type": ({"objective": 7}, 422, "objective"),
    "null": ({"objective": None}, 422, "objective"),
    "unknown field": ({**GOOD, "objektive": "x"}, 422, "objektive"),
    "unknown nested field": ({**GOOD, "budget": {"round": 3}}, 422, "budget.round"),
    "negative budget": ({**GOOD, "budget": {"steps": -1}}, 422, "budget.steps"),
    "too many subagents": ({**GOOD, "budget": {"subagents": 301}}, 422, "budget.subagents"),
    "budget of words": ({**GOOD, "budget": "plenty"}, 422, "budget"),
    "unknown check": ({**GOOD, "criteria": [{"text": "a", "check": {"kind": "magic"}}]}, 422, "criteria.0.check"),
    "check outside": (
        {**GOOD, "criteria": [{"text": "a", "check": {"kind": "file", "path": "../../etc/passwd"}}]},
        422,
        "criteria.0.check.file",
    ),
    "broken pattern": (
        {**GOOD, "criteria": [{"text": "a", "check": {"kind": "file", "path": "a", "pattern": "("}}]},
        422,
        "criteria.0.check.file.pattern",
    ),
    "bad label": ({**GOOD, "labels": {"a b": "c"}}, 422, "labels"),
    "start in words": ({**GOOD, "start_at": "tomorrow"}, 422, "start_at"),
    "start without zone": ({**GOOD, "start_at": "2027-01-01T00:00:00"}, 422, "start_at"),
    "same input twice": ({**GOOD, "inputs": [{"path": "/tmp/a"}, {"path": "/var/a"}]}, 422, "inputs"),
    "a list": ([1, 2], 422, ""),
    "a word": ("hello", 422, ""),
}


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status and body["code"] and body["title"] and body["action"]
    return body


def goals(house: House) -> int:
    return len(httpx.get(f"{house.url}/v1/goals", params={"limit": 200}).json()["items"])


@pytest.mark.parametrize("kind", BAD_BODIES)
def test_a_bad_body_is_refused_by_its_field(house: House, kind: str) -> None:
    body, status, field = BAD_BODIES[kind]
    before = goals(house)
    answer = problem(httpx.post(f"{house.url}/v1/goals", json=body), status)
    named = [error["field"] for error in answer["errors"]]
    assert any(name == field or (field and name.startswith(field)) for name in named), named
    assert all(error["problem"] and error["action"] for error in answer["errors"])
    assert goals(house) == before


@pytest.mark.parametrize("text", ["", "{", '{"objective": "a"', "\x00", "{'a': 1}", '{"objective": "\\ud800"}'])
def test_malformed_json_is_refused(house: House, text: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{house.url}/v1/goals", content=text, headers=headers)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_oversized_body_is_refused_also_without_a_length(house: House) -> None:
    problem(httpx.post(f"{house.url}/v1/goals", json={"objective": "x" * 1_100_000}), 413)

    def endless() -> Any:
        for _ in range(40):
            yield b"x" * 50_000

    answer = httpx.post(f"{house.url}/v1/goals", content=endless(), headers={"Content-Type": "application/json"})
    problem(answer, 413)


@pytest.mark.parametrize("path", ["", "/rounds", "/subtasks", "/events", "/artifacts", "/report", "/archive.zip"])
def test_an_unknown_goal_is_not_found(house: House, path: str) -> None:
    assert problem(httpx.get(f"{house.url}/v1/goals/goal_NOPE{path}"), 404)["code"] == "not_found"


@pytest.mark.parametrize("command", ["pause", "resume", "cancel"])
def test_commands_to_an_unknown_goal_are_not_found(house: House, command: str) -> None:
    problem(httpx.post(f"{house.url}/v1/goals/goal_NOPE/{command}"), 404)


def test_bad_queries_are_refused(house: House) -> None:
    goal = house.submit("Ask oddly")
    base = f"{house.url}/v1/goals"
    for path, status in {
        "?cursor=nonsense": 400,
        "?cursor=%F0%9F%90%8D": 400,
        "?limit=0": 422,
        "?limit=many": 422,
        "?status=happy": 422,
        "?label=nokey": 422,
        f"/{goal}?wait=-1": 422,
        f"/{goal}/events?after=yesterday": 400,
        f"/{goal}/events?after=1-2-3": 400,
        f"/{goal}/events?after=99999999999999999999999-0": 400,
        f"/{goal}/rounds/0": 404,
        f"/{goal}/rounds/99": 404,
        f"/{goal}/rounds/two": 422,
        f"/{goal}/subtasks?cursor=17": 400,
        f"/{goal}/subtasks/017": 400,
        f"/{goal}/subtasks/r1-999": 404,
        f"/{goal}/subtasks/r99-001/steps": 404,
        f"/{goal}/subtasks/r1-plan/steps?cursor=x": 422,
        f"/{goal}/artifacts/none.txt": 404,
        f"/{goal}/artifacts/..%2f..%2fetc%2fpasswd": 404,
        f"/{goal}/report?format=pdf": 422,
    }.items():
        answer = problem(httpx.get(base + path), status)
        assert answer["action"], path
    problem(httpx.get(f"{house.url}/v2/goals"), 404)
    problem(httpx.put(base), 405)


def test_bad_commands_are_refused(house: House) -> None:
    goal = house.submit("Command oddly", start_at="2099-01-01T00:00:00Z")
    base = f"{house.url}/v1/goals/{goal}"
    problem(httpx.post(f"{base}/pause", json={"mode": "soon"}), 422)
    problem(httpx.post(f"{base}/resume", json={"add_budget": {"rounds": -1}}), 422)
    problem(httpx.post(f"{base}/cancel", json={"reson": "typo"}), 422)
    problem(httpx.post(f"{base}/cancel", content=b"{", headers={"Content-Type": "application/json"}), 400)
    assert httpx.post(f"{base}/cancel").status_code == 202
    assert httpx.post(f"{base}/cancel").status_code == 200
    refused = problem(httpx.post(f"{base}/resume"), 409)
    assert (refused["current_status"], refused["allowed"]) == ("cancelled", ["cancel"])
    problem(httpx.post(f"{house.url}/v1/questions/q_x/answer", json={"answer": "yes"}), 404)


def test_the_same_key_twice_is_one_goal(house: House) -> None:
    headers = {"Idempotency-Key": "order-66"}
    body = {"objective": "Only once", "start_at": "2099-01-01T00:00:00Z"}
    before = goals(house)
    first = httpx.post(f"{house.url}/v1/goals", json=body, headers=headers)
    again = httpx.post(f"{house.url}/v1/goals", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.headers["Location"] == f"/v1/goals/{first.json()['id']}"
    other = httpx.post(f"{house.url}/v1/goals", json={"objective": "Another"}, headers=headers)
    assert problem(other, 422)["code"] == "idempotency_mismatch"
    assert goals(house) == before + 1


def test_a_page_of_elsewhere_may_not_reach_a_local_server(house: House) -> None:
    problem(httpx.get(f"{house.url}/v1/goals", headers={"Host": "evil.example"}), 400)
    problem(httpx.post(f"{house.url}/v1/goals", json=GOOD, headers={"Origin": "https://evil.example"}), 400)


def test_an_input_that_is_not_there_is_told_by_the_goal(house: House) -> None:
    goal = house.submit("Read what isn't there", inputs=[{"path": "/nonexistent/folder"}])
    shown = house.until(goal, "blocked")
    assert shown["reason"] == "configuration"
    assert "/nonexistent/folder" in shown["detail"]
