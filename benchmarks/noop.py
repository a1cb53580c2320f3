"""The workers of `rounds`: the real ones, with a model that plans 300 subtasks that do nothing."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from worker import runtime
from worker.llm.model import Answer, Message, ToolCall
from worker.prompts import unfence


class Noop:
    """Plans, reports and judges at once, without looking."""

    name = "noop"

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def _judge(self, user: str) -> list[dict[str, str]]:
        """One criterion more is met in each round, so that the engine sees progress until the last."""
        verification = unfence("verification", user)
        self._seen[verification["contract"]["objective"]] += 1
        met = self._seen[verification["contract"]["objective"]]
        asked = enumerate(verification["asked"], 1)
        return [{"criterion": name, "status": "met" if place <= met else "not_met"} for place, name in asked]

    async def answer(self, messages: list[Message], tools: list[dict[str, Any]], *, only: str = "") -> Answer:
        offered = {tool["function"]["name"] for tool in tools}
        if "submit_plan" in offered:
            made = [{"title": f"{n}", "objective": f"nothing, part {n}"} for n in range(300)]
            return _submit("submit_plan", {"subtasks": made})
        if "submit_verdict" in offered:
            return _submit("submit_verdict", {"findings": self._judge(str(messages[1]["content"]))})
        return _submit("submit_digest", {"outcome": "done", "answer": ""})

    async def close(self) -> None:
        return None


def _submit(name: str, arguments: dict[str, Any]) -> Answer:
    return Answer(calls=(ToolCall(id="c", name=name, arguments=json.dumps(arguments)),))


runtime.make_model = lambda *_: Noop()  # type: ignore[assignment]

from worker.app import app  # noqa: E402

__all__ = ["app"]
