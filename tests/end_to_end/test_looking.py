"""Watching: long-poll, event streams, subtasks and steps, artifacts, report."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile

import httpx
import pytest

from pursuit.client import Client, Heard
from tests.house import House, audit_events
from tests.scripted import ScriptedModel


@pytest.fixture(scope="module")
def done(house: House) -> str:
    goal = house.submit("Describe seven questions", inputs=[house.items(7)], labels={"suite": "looking"})
    house.until(goal)
    return goal


def test_a_long_poll_answers_when_the_goal_changes(house: House) -> None:
    goal = house.submit("Change while I wait", start_at="2099-01-01T00:00:00Z")
    first = httpx.get(f"{house.url}/v1/goals/{goal}")
    tag = first.headers["ETag"]
    began = time.monotonic()
    same = httpx.get(f"{house.url}/v1/goals/{goal}", params={"wait": 1}, headers={"If-None-Match": tag})
    assert same.status_code == 304 and time.monotonic() - began >= 1

    def pause() -> None:
        time.sleep(0.5)
        httpx.post(f"{house.url}/v1/goals/{goal}/pause")

    thread = threading.Thread(target=pause)
    thread.start()
    began = time.monotonic()
    changed = httpx.get(f"{house.url}/v1/goals/{goal}", params={"wait": 20}, timeout=30)
    thread.join()
    assert changed.json()["status"] == "paused" and time.monotonic() - began < 5


def test_events_stream_and_resume_where_a_viewer_left_off(house: House, client: Client, done: str) -> None:
    whole = list(client.events(done))
    assert [event.seq for event in whole] == list(range(1, len(whole) + 1))
    assert whole[-1].type == "goal.status" and whole[-1].data["to"] == "completed"
    middle = whole[len(whole) // 2]
    rest = list(client.events(done, after=middle.id))
    assert [event.id for event in rest] == [event.id for event in whole if event.seq > middle.seq]
    headers = {"Accept": "text/event-stream", "Last-Event-ID": whole[-1].id}
    assert httpx.get(f"{house.url}/v1/goals/{done}/events", headers=headers).status_code == 204


def test_a_viewer_whose_place_is_gone_is_told(house: House, done: str) -> None:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "1-1"}
    with httpx.stream("GET", f"{house.url}/v1/goals/{done}/events", headers=headers) as response:
        names = [line for line in response.iter_lines() if line.startswith("event:")]
    assert names[:2] == ["event: gap", "event: goal.submitted"]


def test_a_live_stream_brings_events_as_they_come_and_ends_with_the_goal(
    house: House, client: Client, model: ScriptedModel
) -> None:
    model.delay = 0.3
    try:
        goal = house.submit("Watch me live", inputs=[house.items(3)])
        seen: list[tuple[float, Heard]] = [(time.time(), event) for event in client.events(goal)]
    finally:
        model.delay = 0
    lags = [at - _seconds(event.at) for at, event in seen if event.type == "subtask.step"]
    assert len(lags) > 5
    assert sorted(lags)[len(lags) // 2] < 0.5
    assert seen[-1][1].data["to"] == "completed"


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def test_events_come_in_pages_too(house: House, client: Client, done: str) -> None:
    pages, after = [], None
    while True:
        page = client.event_page(done, after=after, limit=10)
        pages.append(page["items"])
        after = page["next_cursor"]
        if after is None:
            break
    flat = [event for page in pages for event in page]
    audit_events(flat)
    assert len(pages) > 3 and all(len(page) == 10 for page in pages[:-1])


def test_subtasks_page_and_filter_and_show_their_steps(client: Client, done: str) -> None:
    first = client.subtasks(done, limit=5)
    rest = client.subtasks(done, limit=5, cursor=first["next_cursor"])
    names = [item["id"] for item in first["items"] + rest["items"]]
    assert names == [f"r1-00{n}" for n in range(1, 8)] + ["r2-001"]
    assert rest["next_cursor"] is None
    assert [s["id"] for s in client.subtasks(done, round=2, state="done")["items"]] == ["r2-001"]
    assert client.subtasks(done, state="leased")["items"] == []
    one = client.subtask(done, "r1-003")
    assert one["brief"]["item"] == "question 3" and one["digest"]["outcome"] == "done"
    steps = client.steps(done, "r1-003")["items"]
    assert [step["kind"] for step in steps] == ["answer", "result", "answer"]
    assert steps[0]["body"]["calls"][0]["name"] == "write_file"
    assert client.steps(done, "r1-plan")["items"]


def test_artifacts_are_served_whole_in_ranges_and_as_an_archive(house: House, client: Client, done: str) -> None:
    artifacts = client.artifacts(done)
    assert [a["path"] for a in artifacts][-1] == "report.md"
    report = artifacts[-1]
    assert (report["subtask"], report["round"]) == ("r2-001", 2)
    url = f"{house.url}/v1/goals/{done}/artifacts/report.md"
    whole = httpx.get(url)
    assert len(whole.content) == report["size"] and whole.headers["ETag"] == f'"{report["sha256"]}"'
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    part = httpx.get(url, headers={"Range": "bytes=2-7"})
    assert (part.status_code, part.content) == (206, whole.content[2:8])
    assert httpx.get(url, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
    archive = zipfile.ZipFile(io.BytesIO(httpx.get(f"{house.url}/v1/goals/{done}/archive.zip").content))
    assert sorted(archive.namelist()) == [a["path"] for a in artifacts]


def test_the_report_counts_what_there_is(client: Client, done: str) -> None:
    report = client.report(done)
    assert report["census"]["outcomes"] == {"done": 8}
    assert report["not_done"] == []
    assert report["census"]["critical_path_seconds"] > 0
    assert len(report["subtasks"]) == 8
    text = client.report_text(done)
    assert "**completed** (met)" in text and "| r1-007 |" in text


def test_lists_filter_by_status_label_and_words(client: Client, done: str) -> None:
    assert [g["id"] for g in client.goals(label="suite=looking")["items"]] == [done]
    assert [g["id"] for g in client.goals(q="SEVEN quest")["items"]] == [done]
    assert client.goals(label="suite=looking", status="blocked")["items"] == []


def test_the_published_openapi_document_is_the_committed_one(house: House) -> None:
    from tests.openapi import TARGET

    served = httpx.get(f"{house.url}/openapi.json").json()
    assert served == json.loads(TARGET.read_text()), "run `make openapi` if the change was meant"
