"""Follows a goal to its end: a live picture on a terminal, plain lines elsewhere, JSON lines on request."""

from __future__ import annotations

import contextlib
import json
import queue
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


class Listener:
    """Hears the goal's events in a thread, so that the picture and the clock don't wait for them."""

    def __init__(self, client: Client, goal: str) -> None:
        self._heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._trouble: PursuitError | None = None
        self.ended = False
        threading.Thread(target=self._listen, args=(client, goal), daemon=True).start()

    def _listen(self, client: Client, goal: str) -> None:
        try:
            for event in client.events(goal):
                self._heard.put(event)
        except PursuitError as error:
            self._trouble = error
        finally:
            self.ended = True

    def fresh(self, wait: float) -> list[Heard]:
        """What has come since the last call, waiting a moment for the first. Raises what the listening raised."""
        found: list[Heard] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._heard.get(timeout=wait))
            while True:
                found.append(self._heard.get_nowait())
        if self._trouble and not found:
            raise self._trouble
        return found


def _plain(client: Client, goal: dict[str, Any], timeout: float | None, *, as_json: bool) -> int:
    swarm, deadline = Swarm(goal), _deadline(timeout)
    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    listener, stopped = Listener(client, goal["id"]), _settled(goal)
    while True:
        ended = listener.ended
        fresh = listener.fresh(0.5)
        for event in fresh:
            if as_json:
                print(event.model_dump_json(), flush=True)
            elif line := swarm.apply(event):
                console.print(f"{event.at[11:19]} {line}")
        # only when all is read: an event may tell of an earlier pause of a goal that has gone on since
        if not fresh and (ended or stopped):
            goal, stopped = client.goal(goal["id"]), False
            if _settled(goal):
                break
        stopped = stopped or any(event.type == "goal.status" and event.data["to"] in EXIT for event in fresh)
        if deadline and time.monotonic() > deadline:
            return TIMED_OUT
    if as_json:
        print(json.dumps({"type": "goal.summary", "goal": goal}), flush=True)
    else:
        console.print(goal["now"])
    return EXIT.get(goal["status"], 1)


def _live(client: Client, goal: dict[str, Any], timeout: float | None, console: Console) -> int:
    swarm, deadline = Swarm(goal), _deadline(timeout)
    _reload(client, swarm)
    listener = Listener(client, goal["id"])
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            ended = listener.ended
            fresh = listener.fresh(1 / FRAMES)
            for event in fresh:
                swarm.apply(event)
            if any(event.type in RELOADS for event in fresh) or (ended and not fresh):
                _reload(client, swarm)
            live.update(swarm.render(console.width), refresh=True)
            if _settled(swarm.goal) and not fresh:
                break
            if deadline and time.monotonic() > deadline:
                return TIMED_OUT
            time.sleep(1 / FRAMES)
    return EXIT.get(swarm.goal["status"], 1)


def _reload(client: Client, swarm: Swarm) -> None:
    goal = client.goal(swarm.goal["id"])
    page = client.subtasks(goal["id"], round=goal["round"], limit=500)
    swarm.reload(goal, page["items"])


def _deadline(timeout: float | None) -> float | None:
    return time.monotonic() + timeout if timeout else None
