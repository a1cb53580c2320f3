"""The loop of model calls and tool calls that carries out a job, journaled entry by entry.

What is journaled is never done again: a resumed attempt reads the journal back, runs the tool calls of the last
answer that have no result yet, and goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from config.crashpoints import crash_point
from pursuit.models import Entry
from pursuit.store import Attempt, Beat, Fence
from worker.llm.model import Answer, Garbled, Message, ToolCall
from worker.prompts import fence, prompt
from worker.runtime import Runtime
from worker.tools import Effect, Toolbox
from worker.tools.registry import explain

#: how often a submission that doesn't hold is sent back before the job counts as failed
SENT_BACK = 2

T = TypeVar("T", bound=BaseModel)


class Stopped(Exception):
    """The attempt is no longer ours, or the person wants it stopped: leave without a result."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class GaveUp(Exception):
    """The model couldn't bring the job to an end in the given steps and tries."""


@dataclass(frozen=True)
class Assignment(Generic[T]):
    """What a role is asked: prompts, the tools it may use, and how it hands in."""

    system: str
    user: str
    submit: str
    submit_help: str
    result: type[T]
    toolbox: Toolbox
    steps: int
    #: what is wrong with a result that is well-formed; empty when it holds
    review: Callable[[T], list[str]] = field(default=lambda result: [])

    def schemas(self, *, last: bool) -> list[dict[str, Any]]:
        hand_in = {
            "type": "function",
            "function": {
                "name": self.submit,
                "description": self.submit_help,
                "parameters": _schema_of(self.result),
            },
        }
        return [hand_in] if last else [*self.toolbox.schemas(), hand_in]


@cache
def _schema_of(result: type[BaseModel]) -> dict[str, Any]:
    return result.model_json_schema()


class Loop(Generic[T]):
    """One attempt at an assignment."""

    def __init__(
        self,
        runtime: Runtime,
        attempt: Attempt,
        assignment: Assignment[T],
        *,
        may_go_on: Callable[[Beat], str | None] = lambda beat: None,
    ) -> None:
        self._store, self._model, self._draining = runtime.store, runtime.model, runtime.draining
        self._attempt, self._task = attempt, assignment
        self._may_go_on = may_go_on
        self._entries: list[Entry] = []
        self._kept = 0
        self._wrap_up = False
        #: pieces of guidance that the goal has, as far as the last journal call said
        self._guided = 0
        self._heard = 0

    async def run(self) -> T:
        """The result. Raises Stopped, GaveUp, NeedsAnswer or a ModelError."""
        if self._attempt.journal_length:
            self._entries = await self._store.journal_of(self._attempt.ref)
            self._kept = len(self._entries)
            self._heard = max((e.body["number"] for e in self._entries if e.kind == "guidance"), default=0)
        while True:
            if (result := await self._work_off()) is not None:
                return result
            await self._think()

    @property
    def entries(self) -> list[Entry]:
        return self._entries

    @property
    def kept(self) -> int:
        return self._kept

    def _last(self) -> tuple[int, Answer] | None:
        for index in range(len(self._entries) - 1, -1, -1):
            if self._entries[index].kind == "answer":
                return index, Answer.model_validate(self._entries[index].body)
        return None

    async def _work_off(self) -> T | None:
        """Runs the calls of the last answer that have no result yet; returns an accepted submission."""
        last = self._last()
        if last is None:
            return None
        index, answer = last
        done = {entry.body["id"] for entry in self._entries[index + 1 :] if entry.kind == "result"}
        waiting = [call for call in answer.calls if call.id not in done]
        hand_ins = [call for call in waiting if call.name == self._task.submit]
        tools = [call for call in waiting if call.name != self._task.submit]
        ends = await asyncio.gather(*(self._call(call, index) for call in tools), return_exceptions=True)
        if tools:
            crash_point("after_tools_before_journal")
        failed = [end for end in ends if end is not None]
        if failed or any(self._task.toolbox.effect(call.name) is not Effect.READ for call in tools):
            await self._journal()  # what has changed the world, and all before a pause, is recorded at once
        if failed:
            raise failed[0]
        for call in hand_ins:
            result, problem = self._judge(call)
            if result is not None:
                return result
            self._add(call.id, call.name, False, problem)
        if not answer.calls and not done:
            self._add("", "", False, prompt("no_call"))
        return None

    async def _call(self, call: ToolCall, index: int) -> None:
        ref = self._attempt.ref
        if self._wrap_up:
            self._add(call.id, call.name, False, prompt("wrap_up"))
            return
        worked, text = await self._task.toolbox.run(
            call.name, call.arguments, f"{ref.goal}:{ref.job}:{index}:{call.id}"
        )
        self._add(call.id, call.name, worked, text)

    def _judge(self, call: ToolCall) -> tuple[T | None, str]:
        """The submission if it holds, else what is wrong with it, in words for the model."""
        try:
            result = self._task.result.model_validate_json(call.arguments or "{}")
        except ValidationError as error:
            return None, f"not accepted: {explain(error)}"
        problems = self._task.review(result)
        return (None, "not accepted: " + "; ".join(problems)) if problems else (result, "")

    def _refused(self) -> int:
        """How often a submission, or an answer that called nothing, was sent back; counted from the journal."""
        return sum(
            entry.kind == "result" and not entry.body["ok"] and entry.body["name"] in (self._task.submit, "")
            for entry in self._entries
        )

    async def _hear(self) -> None:
        """Takes up what people have said since. It is journaled, so that a resumed attempt has heard the same."""
        if self._guided <= self._heard:
            return
        ref = self._attempt.ref
        words = await self._store.guidance(ref.goal)
        for number, said in enumerate(words[self._heard :], self._heard + 1):
            if said.subtask in ("", ref.job):
                self._entries.append(Entry(kind="guidance", body={"number": number, "text": said.text}))
        self._heard = len(words)

    async def _think(self) -> None:
        await self._hear()
        steps = sum(entry.kind == "answer" for entry in self._entries)
        if self._refused() > SENT_BACK:
            raise GaveUp(
                f"its submission was sent back {self._refused()} times: {self._entries[-1].body['text'][:300]}"
            )
        if steps >= self._task.steps:
            raise GaveUp(f"all {self._task.steps} steps were used without a result")
        self._wrap_up = self._wrap_up or steps == self._task.steps - 1
        answer = await self._ask()
        crash_point("after_answer_before_journal")
        note = ", ".join(call.name for call in answer.calls) or answer.text[:100]
        self._entries.append(Entry(kind="answer", body=answer.model_dump()))
        await self._journal(answer, note)

    async def _ask(self) -> Answer:
        schemas = self._task.schemas(last=self._wrap_up)
        messages = self._messages()
        try:
            return await self._model.answer(messages, schemas)
        except Garbled:
            return await self._model.answer(messages, schemas)

    async def _journal(self, answer: Answer | None = None, note: str = "") -> None:
        beat = await self._store.journal(
            self._attempt,
            self._kept,
            self._entries[self._kept :],
            step=answer is not None,
            tokens_in=answer.tokens_in if answer else 0,
            tokens_out=answer.tokens_out if answer else 0,
            note=note,
        )
        if beat.fence in (Fence.LOST, Fence.GONE, Fence.GAP):
            raise Stopped(beat.fence)
        self._kept = len(self._entries)
        crash_point("after_journal")
        self._guided = beat.guided
        if beat.wish == "pause" or self._draining.is_set():
            raise Stopped("pause")
        stop = self._may_go_on(beat)
        if stop and not self._wrap_up:
            self._wrap_up = True

    def _add(self, call_id: str, name: str, worked: bool, text: str) -> None:
        body = {"id": call_id, "name": name, "ok": worked, "text": text}
        self._entries.append(Entry(kind="result", body=body))

    def _messages(self) -> list[Message]:
        messages: list[Message] = [
            {"role": "system", "content": self._task.system},
            {"role": "user", "content": self._task.user},
        ]
        for entry in self._entries:
            if entry.kind == "answer":
                messages.append(Answer.model_validate(entry.body).message())
            elif entry.kind == "guidance":
                messages.append({"role": "user", "content": fence("guidance", {"a person says": entry.body["text"]})})
            elif entry.body["id"]:
                text = entry.body["text"] if entry.body["ok"] else f"ERROR: {entry.body['text']}"
                messages.append({"role": "tool", "tool_call_id": entry.body["id"], "content": text})
            else:
                messages.append({"role": "user", "content": entry.body["text"]})
        if self._wrap_up:
            messages.append({"role": "user", "content": prompt("wrap_up")})
        return messages
