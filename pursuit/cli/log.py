"""A goal's events and a sub-agent's steps as lines."""

from __future__ import annotations

import json
from typing import Any

from pursuit.cli.swarm import Swarm
from pursuit.client import Client, Heard


def print_events(client: Client, goal: str, *, follow: bool, output: str) -> None:
    """All events so far, or to the goal's end."""
    swarm = Swarm(client.goal(goal))
    for event in client.events(goal) if follow else _pages(client, goal):
        if output != "table":
            print(event.model_dump_json(), flush=True)
            continue
        line = swarm.apply(event) or _words(event)
        print(f"{event.at[:19]} {event.seq:5} {event.type:18} {line}", flush=True)


def _pages(client: Client, goal: str) -> Any:
    after = None
    while True:
        page = client.event_page(goal, after=after)
        for item in page["items"]:
            yield Heard.model_validate(item)
        after = page["next_cursor"]
        if after is None:
            return


def _words(event: Heard) -> str:
    return " ".join(f"{name}={value}" for name, value in event.data.items() if not isinstance(value, dict | list))[:300]


def print_steps(client: Client, goal: str, subtask: str, output: str) -> None:
    """A sub-agent's transcript: the model's answers and the tools' results."""
    cursor = None
    while True:
        page = client.steps(goal, subtask, cursor=cursor)
        for step in page["items"]:
            print(json.dumps(step, ensure_ascii=False) if output != "table" else _step(step))
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _step(step: dict[str, Any]) -> str:
    body = step["body"]
    if step["kind"] == "answer":
        calls = "".join(f"\n      -> {c['name']} {_short(c['arguments'])}" for c in body.get("calls", ()))
        return f"{step['index']:4}  {_short(body.get('text', ''))}{calls}"
    if step["kind"] == "guidance":
        return f"{step['index']:4}  <- a person: {_short(body['text'])}"
    return f"{step['index']:4}  <- {body['name']}{'' if body['ok'] else ' ERROR'}: {_short(body['text'])}"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 300 else flat[:299] + "…"
