"""Parts for scripted models: who plans what, who writes what, who finds what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.scripted import Answer, Call, Handler, says
from worker.prompts import unfence

Part = Callable[[Call], Answer | Awaitable[Answer | None] | None]


def subtask(title: str, **over: Any) -> dict[str, Any]:
    return {"title": title, "objective": f"do {title}", **over}


def plan(*subtasks: dict[str, Any], **over: Any) -> Answer:
    return says("", ("submit_plan", {"approach": "as scripted", "subtasks": list(subtasks), **over}))


def write(path: str, content: str) -> tuple[str, Any]:
    return ("write_file", {"path": path, "content": content})


def digest(answer: str = "done", outcome: str = "done", **over: Any) -> Answer:
    return says("", ("submit_digest", {"outcome": outcome, "answer": answer, **over}))


def verdict(**found: str) -> Answer:
    """Findings by criterion: `met` names what was read, and everything is said to have been seen in out.md."""
    findings = [{"criterion": c, "status": s, "why": "as scripted", "seen": ["out.md"]} for c, s in found.items()]
    return says("", ("submit_verdict", {"findings": findings}))


def reads(*paths: str) -> Answer:
    return says("", *(("read_file", {"path": path}) for path in paths))


def by_role(**parts: Part) -> Handler:
    """A handler from `planner`, `worker` and `judge`; what is left out is played by the rehearsal policy."""
    roles = {"plan": "planner", "digest": "worker", "verdict": "judge"}

    def answer(call: Call) -> Answer | Awaitable[Answer | None] | None:
        part = parts.get(roles.get(call.role, ""))
        return part(call) if part else None

    return answer


def goal_of(call: Call) -> dict[str, Any]:
    """What a planner was shown."""
    shown: dict[str, Any] = unfence("goal", call.text)
    return shown


def brief_of(call: Call) -> dict[str, Any]:
    """What a sub-agent was given."""
    given: dict[str, Any] = unfence("brief", call.text)
    return given


def writer(path: str = "out.md", content: Callable[[Call], str] = lambda call: "text") -> Part:
    """A sub-agent that writes one file and hands in."""
    return lambda call: says("", write(path, content(call))) if call.turn == 0 else digest(artifacts=[path])


def one_file(path: str = "out.md") -> Part:
    """A planner that has one file written in each round."""
    return lambda call: plan(subtask("write it", write_scope=[path]))


def careful(path: str = "out.md", **found: str) -> Part:
    """A judge that reads before it finds."""
    return lambda call: reads(path) if call.turn == 0 else verdict(**found)


async def until(check: Callable[[], bool], seconds: float = 20) -> None:
    """Holds one answer back, and nobody else's, until something is true."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(check):
            await asyncio.sleep(0.1)


def says_wait(**wait: Any) -> Answer:
    """A plan that waits instead of having subtasks."""
    return says("", ("submit_plan", {"wait": wait}))
