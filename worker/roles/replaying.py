"""A conversation, or the replay of one that was recorded: the same answers, and what its tools brought then."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from pydantic import BaseModel

from pursuit.models import Goal
from pursuit.store import Attempt
from worker.files.workspace import Written
from worker.llm.caller import Called
from worker.llm.model import ToolCall
from worker.recording import Recording, recording_of
from worker.roles.agent import Assignment, Loop
from worker.roles.conversation import results_after
from worker.runtime import Runtime

T = TypeVar("T", bound=BaseModel)


async def converse(
    runtime: Runtime, attempt: Attempt, goal: Goal, assignment: Assignment[T], *, part: str = ""
) -> Loop[T]:
    """The loop for an assignment. Raises Ended where the goal is a replay and nothing of this was recorded."""
    recording = await recording_of(runtime.store, runtime.blobs, goal, attempt.ref, part)
    if recording is None:
        return Loop(runtime, attempt, assignment, part=part)
    return ReplayedLoop(runtime, attempt, assignment, recording, part=part)


class ReplayedLoop(Loop[T]):
    """Takes answers and results from a recording. What is handed in is reviewed anew; nothing outside is touched."""

    def __init__(
        self, runtime: Runtime, attempt: Attempt, assignment: Assignment[T], recording: Recording, *, part: str = ""
    ) -> None:
        super().__init__(runtime, attempt, assignment, part=part)
        self._recording = recording

    def _turn(self) -> int:
        return sum(entry.kind == "answer" for entry in self._entries)

    async def _work_off(self) -> T | None:
        last = self._last()
        if last is not None:
            index, answer = last
            done = results_after(self._entries, index)
            ids = [call.id for call in answer.calls] or [""]
            results = [self._recording.result(self._turn() - 1, call) for call in ids if call not in done]
            found = [entry for entry in results if entry is not None]
            files = {path: Written.model_validate(at) for e in found for path, at in e.body.get("files", {}).items()}
            if files:
                await asyncio.to_thread(self._task.toolbox.restore, files)
            if found:
                self._entries += found
                await self._journal()
        return await super()._work_off()

    async def _run(self, tools: list[ToolCall], index: int) -> None:
        for call in tools:
            self._add(call.id, call.name, False, "the recording has no result of this call, and a replay makes none")

    async def _ask(self) -> Called:
        return Called(self._recording.answer(self._turn()))
