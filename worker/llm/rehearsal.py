"""The rehearsal model: a fixed policy that really uses the tools, for trying out and for tests.

It is no language model and doesn't pretend to be one: it knows two kinds of goal, an audit of a Python environment
and a survey of the given inputs, and what it answers is computed from tool results. It holds no state: like any
model it sees the conversation so far, replays its policy over the recorded results, and says what comes next.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Generator
from typing import Any

from pursuit.contract import Frozen
from worker.llm.model import Answer, Message, ToolCall
from worker.llm.policies import audit, survey
from worker.llm.policies.steps import Result, Step
from worker.prompts import prompt, unfence

#: Yields the calls of a step, gets their results; ends with a step that submits.
Policy = Generator[list[Step], list[Result], None]


class RehearsalModel:
    """Answers by policy. `think`: about how many seconds it pretends to think."""

    name = "rehearsal"

    def __init__(self, *, think: float = 0.0) -> None:
        self._think = think

    async def answer(self, messages: list[Message], tools: list[dict[str, Any]], *, only: str = "") -> Answer:
        if self._think:
            await asyncio.sleep(self._think * random.uniform(0.5, 1.5))
        return respond(messages, tools)

    async def close(self) -> None:
        return None


class Heard(Frozen):
    """One earlier step as the conversation shows it."""

    results: tuple[tuple[bool, str], ...]


def respond(messages: list[Message], tools: list[dict[str, Any]]) -> Answer:
    """The policy's next step after this conversation."""
    offered = {tool["function"]["name"] for tool in tools}
    policy = _policy(str(messages[1]["content"]), offered)
    step = next(policy)
    number = 0
    for heard in _heard(messages):
        number += 1
        if heard.results and all(text == f"ERROR: {prompt('guided')}" for _, text in heard.results):
            continue  # a person has spoken; a fixed policy can only do the same again
        try:
            step = policy.send([Result(ok=ok, text=text) for ok, text in heard.results])
        except StopIteration:
            break  # what it handed in was sent back; it knows nothing better and hands it in again
    calls = tuple(
        ToolCall(id=f"call_{number}_{place}", name=item.tool, arguments=json.dumps(item.arguments))
        for place, item in enumerate(step)
    )
    return Answer(text="Rehearsal: a fixed policy, no language model.", calls=calls)


def _policy(user: str, offered: set[str]) -> Policy:
    if "submit_plan" in offered:
        goal = unfence("goal", user)
        return audit.plan(goal) if audit.recognises(goal) else survey.plan(goal)
    if "submit_verdict" in offered:
        return survey.judge(unfence("verification", user))
    brief = unfence("brief", user)
    return audit.work(brief) if audit.owns(brief) else survey.work(brief)


def _heard(messages: list[Message]) -> list[Heard]:
    results = {m["tool_call_id"]: str(m["content"]) for m in messages if m["role"] == "tool"}
    heard = []
    for message in messages:
        if message["role"] != "assistant":
            continue
        texts = [results.get(call["id"], "ERROR: no result") for call in message.get("tool_calls") or ()]
        heard.append(Heard(results=tuple((not text.startswith("ERROR: "), text) for text in texts)))
    return heard
