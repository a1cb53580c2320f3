"""Follows a goal to its end: a live picture on a terminal, plain lines elsewhere, JSON lines on request."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from rich.console import Console
from rich.live import Live

from pursuit.cli.swarm import RELOADS, Swarm
from pursuit.client import Client, Heard
from pursuit.errors import PursuitError

EXIT = {"completed": 0, "blocked": 3, "cancelled": 5, "paused": 6}
TIMED_OUT, DETACHED = 124, 130
#: frames a second at most; each redraws the whole grid
FRAMES = 8


def watch(client: Client, goal: str, *, output: str = "table", timeout: float | None = None) -> int:
    """Shows the goal until it is final, blocked or paused. Returns the exit code."""
    shown = client.goal(goal)
    console = Console(stderr=True)
    if output != "table":
        return _plain(client, shown, timeout, as_json=True)
    if not console.is_terminal:
        return _plain(client, shown, timeout, as_json=False)
    return _live(client, shown, timeout, console)


def _settled(goal: dict[str, Any]) -> bool:
    return goal["status"] in EXIT


def _plain(client: Client, goal: dict[str, Any], timeout: float | None, *, as_json: bool) -> int:
    swarm, deadline = Swarm(goal), _deadline(timeout)
    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    for event in client.events(goal["id"]):
        if as_json:
            print(event.model_dump_json(), flush=True)
        line = swarm.apply(event)
        if line and not as_json:
            console.print(f"{event.at[11:19]} {line}")
        if event.type == "goal.status" and event.data["to"] in EXIT:
            goal = client.goal(goal["id"])
            if _settled(goal):
                break
        if deadline and time.monotonic() > deadline:
            return TIMED_OUT
    goal = client.goal(goal["id"])
    if as_json:
        print(json.dumps({"type": "goal.summary", "goal": goal}), flush=True)
    else:
        console.print(goal["now"])
    return EXIT.get(goal["status"], 1)


def _live(client: Client, goal: dict[str, Any], timeout: float | None, console: Console) -> int:
    swarm, deadline = Swarm(goal), _deadline(timeout)
    _reload(client, swarm)
    heard: list[Heard] = []
    ended = threading.Event()
    trouble: list[PursuitError] = []

    def listen() -> None:
        try:
            for event in client.events(goal["id"]):
                heard.append(event)
        except PursuitError as error:
            trouble.append(error)
        finally:
            ended.set()

    threading.Thread(target=listen, daemon=True).start()
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            fresh, heard[:] = heard[:], []
            for event in fresh:
                swarm.apply(event)
            if any(event.type in RELOADS for event in fresh) or (ended.is_set() and not heard):
                _reload(client, swarm)
            live.update(swarm.render(console.width), refresh=True)
            if _settled(swarm.goal) and not heard:
                break
            if trouble:
                raise trouble[0]
            if deadline and time.monotonic() > deadline:
                return TIMED_OUT
            ended.wait(1 / FRAMES)
            time.sleep(1 / FRAMES)
    return EXIT.get(swarm.goal["status"], 1)


def _reload(client: Client, swarm: Swarm) -> None:
    goal = client.goal(swarm.goal["id"])
    page = client.subtasks(goal["id"], round=goal["round"], limit=500)
    swarm.reload(goal, page["items"])


def _deadline(timeout: float | None) -> float | None:
    return time.monotonic() + timeout if timeout else None
