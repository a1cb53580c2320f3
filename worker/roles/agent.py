"""The loop of model calls and tool calls that carries out a job, journaled entry by entry.

What is journaled is never done again: a resumed attempt reads the journal back, runs the tool calls of the last
answer that have no result yet, and goes on.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from config.crashpoints import crash_point
from pursuit.models import Entry
from pursuit.store import HELD, Attempt, Beat, Fence, Spent, Wanted
from worker.files.workspace import Written
from worker.llm.caller import ANSWER, Called, Caller, estimate
from worker.llm.model import Answer, TimedOut, ToolCall, TooLong
from worker.prompts import fence, prompt
from worker.roles.conversation import (
    FOLD_AT,
    PART,
    STAYS,
    fold_at,
    messages_of,
    part_of,
    repeated,
    results_after,
    steps_to_fold,
)
from worker.runtime import Runtime
from worker.signals import signals
from worker.tools import Effect, Toolbox
from worker.tools.registry import explain

#: how often a submission that doesn't hold is sent back before the job counts as failed
SENT_BACK = 2
#: how often the same call may bring the same result; one more isn't made, and so many of those end the work
SAME_RESULT, BROKEN_UP = 2, 3
#: seconds that a call in flight, paid for already, is let go on when a person pauses the goal
GRACE = 20.0
#: of a job's time, after which no tools are left and only handing in is possible
HARD = 1.25
#: seconds for the closing call, once the time is over
CLOSING = 120.0

NO_CHANGES: Mapping[str, Written] = MappingProxyType({})

T = TypeVar("T", bound=BaseModel)
R = TypeVar("R")


class Stopped(Exception):
    """The attempt is no longer ours, or the person wants it stopped: leave without a result."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class GaveUp(Exception):
    """The model couldn't bring the job to an end in the given steps, tries and time."""


class OutOfBudget(GaveUp):
    """No call is left in this part of the goal's budget."""

    def __init__(self, part: str) -> None:
        super().__init__(f"the goal's budget of {part.replace('micros', 'money')} is used up")
        self.part = part


@dataclass(frozen=True)
class Assignment(Generic[T]):
    """What a role is asked: prompts, the tools it may use, the model, and how it hands in."""

    system: str
    user: str
    submit: str
    submit_help: str
    result: type[T]
    toolbox: Toolbox
    steps: int
    model: Caller
    #: what is wrong with a result that is well-formed, given the journal so far; empty when it holds
    review: Callable[[T, Sequence[Entry]], list[str]] = field(default=lambda result, entries: [])
    #: the classes of budget it may draw on, one after the other
    budget: tuple[str, ...] = ("work",)
    #: whether people's words reach it; a judge goes by the contract alone
    hears: bool = True
    #: seconds of work after which it is asked to come to an end
    seconds: float = 3600.0

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

    def __init__(self, runtime: Runtime, attempt: Attempt, assignment: Assignment[T], *, part: str = "") -> None:
        self._store, self._draining, self._clean = runtime.store, runtime.draining, runtime.redactor
        self._attempt, self._task, self._model = attempt, assignment, assignment.model
        self._user = self._clean.values(assignment.user)
        self._signals = signals()
        self._began = time.monotonic() - attempt.active
        #: a job may have several conversations: the name of this one, and where it begins in the journal
        self._part, self._base = part, 0
        self._entries: list[Entry] = []
        self._kept = 0
        self._heard = 0
        #: no more tools: the class of budget is the last, or a notice said so
        self._wrap_up = False
        self._class = 0
        self._reserved = False
        #: pieces of guidance that the goal has, as far as the last store call said
        self._guided = 0
        #: the round has its quorum and waits for this job
        self._hurried = False
        #: the call in flight only waits for its turn: nothing is lost by cutting it
        self._idle = False

    async def run(self) -> T:
        """The result. Raises Stopped, GaveUp, NeedsAnswer or a ModelError."""
        if self._attempt.journal_length or self._part:
            self._base, self._entries = part_of(await self._store.journal_of(self._attempt.ref), self._part)
            if self._part and not self._entries:
                self._entries = [
                    Entry(kind="notice", body={"name": PART, "part": self._part, "text": "", "last": False})
                ]
                await self._journal()
            self._kept = len(self._entries)
            self._heard = max((e.body["number"] for e in self._entries if e.kind == "guidance"), default=0)
            self._wrap_up = any(e.kind == "notice" and e.body.get("last") for e in self._entries)
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

    # --- the last answer's calls ----------------------------------------------------------------

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
        done = results_after(self._entries, index)
        waiting = [call for call in answer.calls if call.id not in done]
        if not answer.calls and not done:
            self._add("", "", False, prompt("cut" if answer.cut else "no_call"))
        hand_ins = [call for call in waiting if call.name == self._task.submit]
        tools = [call for call in waiting if call.name != self._task.submit]
        if waiting and not self._wrap_up and await self._interrupted(waiting):
            return None
        await self._run(tools, index)
        for call in hand_ins:
            result, problem = self._judge(call)
            if result is not None:
                return result
            self._add(call.id, call.name, False, problem)
        return None

    async def _interrupted(self, waiting: list[ToolCall]) -> bool:
        """Whether a person has spoken during the answer: then none of it is done, and the model decides anew."""
        effect = self._task.toolbox.effect
        if all(call.name != self._task.submit and effect(call.name) is Effect.READ for call in waiting):
            return False  # looking does no harm; the words come with the next step
        heard = await self._hear()
        if not heard:
            return False
        for call in waiting:
            self._add(call.id, call.name, False, prompt("guided"))
        self._entries += heard
        return True

    async def _run(self, tools: list[ToolCall], index: int) -> None:
        """Runs calls side by side, each as its effect asks for, and records what must be recorded at once."""
        if not tools:
            return
        if self._wrap_up:
            for call in tools:
                self._add(call.id, call.name, False, prompt("wrap_up"))
            return
        admitted = await asyncio.gather(*(self._admit(call, index) for call in tools), return_exceptions=True)
        ready = [call for call, problem in zip(tools, admitted, strict=True) if problem is None]
        once = [call for call in ready if self._task.toolbox.effect(call.name) is Effect.AT_MOST_ONCE]
        for call in once:
            self._entries.append(Entry(kind="start", body={"id": call.id, "name": call.name}))
        if once:
            await self._journal()
            crash_point("after_start_of_tool")
        ends = await self._listen(
            asyncio.gather(*(self._call(call, index) for call in ready), return_exceptions=True), cut=not once
        )
        crash_point("after_tools_before_journal")
        failed = [end for end in (*admitted, *ends) if isinstance(end, BaseException)]
        changed = any(entry.body.get("files") for entry in self._entries[self._kept :])
        if failed or changed or any(self._task.toolbox.effect(call.name) is not Effect.READ for call in tools):
            await self._journal()  # what has changed the world, and all before a pause, is recorded at once
        if failed:
            raise failed[0]

    async def _admit(self, call: ToolCall, index: int) -> str | None:
        """None when the call may be made; else it has its result already. Raises NeedsAnswer where a person decides."""
        toolbox, name, key = self._task.toolbox, call.name, self._key(call, index)
        if self._repeats(call):
            self._add(call.id, name, False, prompt("repeated"), broken=True)
            return "repeated"
        if (denied := await toolbox.permit(name, call.arguments, key)) is not None:
            self._add(call.id, name, False, denied)
            return "denied"
        starts = sum(e.kind == "start" and e.body["id"] == call.id for e in self._entries[index + 1 :])
        if starts:
            # begun by an attempt that died: only a person can find out whether it took effect
            verdict = await toolbox.settle(name, call.arguments, f"{key}:{starts}")
            if verdict is not None:
                self._add(call.id, name, *verdict)
                return "settled"
        return None

    def _key(self, call: ToolCall, index: int) -> str:
        ref = self._attempt.ref
        return f"{ref.goal}:{ref.job}:{index}:{call.id}"

    def _repeats(self, call: ToolCall) -> bool:
        if self._task.toolbox.polls(call.name):
            return False
        changing = [name for name in self._task.toolbox.names() if self._task.toolbox.effect(name) is not Effect.READ]
        return repeated(self._entries, call.name, call.arguments, changing) >= SAME_RESULT

    async def _call(self, call: ToolCall, index: int) -> None:
        ran = await self._task.toolbox.run(call.name, call.arguments, self._key(call, index))
        self._add(call.id, call.name, ran.worked, ran.text, changes=ran.changes)

    def _judge(self, call: ToolCall) -> tuple[T | None, str]:
        """The submission if it holds, else what is wrong with it, in words for the model."""
        try:
            result = self._task.result.model_validate_json(call.arguments or "{}")
        except ValidationError as error:
            return None, f"not accepted: {explain(error)}"
        problems = self._task.review(result, self._entries)
        return (None, "not accepted: " + "; ".join(problems)) if problems else (result, "")

    # --- the next answer ------------------------------------------------------------------------

    async def _think(self) -> None:
        self._entries += await self._hear()
        self._keep_time()
        steps = sum(entry.kind == "answer" for entry in self._entries)
        if self._refused() > SENT_BACK:
            last = [e for e in self._entries if e.kind == "result"][-1].body["text"]
            raise GaveUp(f"its submission was sent back {self._refused()} times: {last[:300]}")
        if steps >= self._task.steps:
            raise GaveUp(f"all {self._task.steps} steps were used without a result")
        if sum(bool(e.body.get("broken")) for e in self._entries) >= BROKEN_UP:
            self._notice("wrap_up", last=True)
        self._wrap_up = self._wrap_up or steps == self._task.steps - 1
        called = await self._ask()
        crash_point("after_answer_before_journal")
        answer = called.answer
        note = self._clean.text(", ".join(call.name for call in answer.calls) or answer.text[:100])
        self._entries.append(self._cleaned("answer", answer))
        going_on = any(call.name != self._task.submit for call in answer.calls)
        await self._journal(called, note=note, following=self._wanted(answer) if going_on else None)

    async def _ask(self) -> Called:
        """An answer; when the conversation no longer fits, its older steps are folded first."""
        window = self._model.profile.window
        if self._size() > FOLD_AT * window:
            await self._fold(int(STAYS * window))
        try:
            return await self._ask_once()
        except TooLong:
            if not await self._fold(int(STAYS * window / 2)):
                raise
        except TimedOut:
            if self._wrap_up or time.monotonic() - self._began < HARD * self._task.seconds:
                raise
            self._notice("wrap_up", last=True)
        return await self._ask_once()

    async def _ask_once(self) -> Called:
        await self._reserve()
        # reserving has told how much people have said: what is heard now needn't send an answer back later
        self._entries += await self._hear()
        messages = messages_of(self._task.system, self._user, self._entries)
        if self._wrap_up:
            messages.append({"role": "user", "content": prompt("wrap_up")})
        only = self._task.submit if self._wrap_up else ""
        return await self._request(messages, self._task.schemas(last=self._wrap_up), only)

    async def _request(self, messages: list[Any], tools: list[dict[str, Any]], only: str = "") -> Called:
        ref, name = self._attempt.ref, f"{self._attempt.nonce}:{len(self._entries)}"
        left = max(CLOSING, self._began + HARD * self._task.seconds - time.monotonic())
        self._reserved = False
        try:
            async with asyncio.timeout(left):
                return await self._listen(
                    self._model.call(ref.goal, f"{ref.job}:{name}", messages, tools, waiting=self._waiting, only=only)
                )
        except TimeoutError as error:
            if self._wrap_up:
                raise GaveUp("its time was over before it had handed anything in") from error
            raise TimedOut("the sub-agent's time was over") from error

    async def _fold(self, most: int) -> bool:
        """Replaces older steps by a summary, journaled like any step. False: there is nothing to fold."""
        upto = fold_at(self._entries, most)
        if not upto:
            return False
        await self._reserve()
        steps = steps_to_fold(self._entries, upto, 2 * self._model.profile.window)
        asked = f"{self._user}\n\n{fence('steps', steps)}"
        called = await self._request(
            [{"role": "system", "content": prompt("summary")}, {"role": "user", "content": asked}], []
        )
        text = self._clean.text(called.answer.text.strip() or steps[: 4 * ANSWER])
        self._entries.append(Entry(kind="summary", body={"upto": upto, "text": text}))
        await self._journal(called, note="folds its older steps")
        return True

    def _size(self) -> int:
        """Tokens of the conversation: as the provider counted the last, and what has come since."""
        messages = messages_of(self._task.system, self._user, self._entries)
        last = self._last()
        if last is None or any(entry.kind == "summary" for entry in self._entries[last[0] :]):
            return estimate(messages)
        since = estimate(messages_of("", "", self._entries[last[0] + 1 :]))
        return max(estimate(messages), last[1].tokens_in + last[1].tokens_out + since)

    # --- budget and time ------------------------------------------------------------------------

    def _wanted(self, answer: Answer | None = None) -> Wanted:
        kind = self._task.budget[self._class]
        if answer is not None:
            return self._model.wanted(kind, answer.tokens_in + answer.tokens_out, max(ANSWER, answer.tokens_out))
        return self._model.wanted(kind, self._size())

    async def _reserve(self) -> None:
        """Holds the call in the goal's budget. What is kept back pays for handing in. Raises OutOfBudget."""
        while not self._reserved:
            beat = await self._store.spend(self._attempt, self._wanted())
            self._heed(beat)
            if not beat.over:
                self._reserved = True
            elif beat.over == HELD:
                self._stop_if_paused(beat)
                await asyncio.sleep(random.uniform(0.5, 1.5))  # others' calls in flight take less than is held for them
            elif self._class + 1 < len(self._task.budget):
                self._class += 1
                self._wrap_up = True
            else:
                raise OutOfBudget(beat.over)

    def _keep_time(self) -> None:
        """A notice when the time is nearly up; when it is over, no more tools."""
        spent = time.monotonic() - self._began
        if self._hurried:
            self._notice("hurried")
        if spent >= HARD * self._task.seconds:
            self._notice("wrap_up", last=True)
        elif spent >= self._task.seconds:
            self._notice("soft_deadline")

    def _notice(self, name: str, *, last: bool = False) -> None:
        """Tells the model something once. It is journaled, so that a resumed attempt has been told the same."""
        if not any(e.kind == "notice" and e.body["name"] == name for e in self._entries):
            self._entries.append(Entry(kind="notice", body={"name": name, "text": prompt(name), "last": last}))
        self._wrap_up = self._wrap_up or last

    def _refused(self) -> int:
        """How often a submission, or an answer that called nothing, was sent back; counted from the journal."""
        return sum(
            entry.kind == "result"
            and not entry.body["ok"]
            and entry.body["name"] in (self._task.submit, "")
            and entry.body["text"] != prompt("guided")
            for entry in self._entries
        )

    # --- people ---------------------------------------------------------------------------------

    async def _hear(self) -> list[Entry]:
        """What people have said since, for the journal, so that a resumed attempt has heard the same."""
        if not self._task.hears or max(self._guided, self._signals.guided) <= self._heard:
            return []
        ref = self._attempt.ref
        words = await self._store.guidance(ref.goal)
        heard = [
            Entry(kind="guidance", body={"number": number, "text": self._clean.text(said.text)})
            for number, said in enumerate(words[self._heard :], self._heard + 1)
            if said.subtask in ("", ref.job)
        ]
        self._heard = len(words)
        return heard

    async def _listen(self, work: Coroutine[Any, Any, R] | asyncio.Future[R], *, cut: bool = True) -> R:
        """Waits for a call and for people: when they pause the goal, it has a grace to come to its end."""
        task = asyncio.ensure_future(work)
        try:
            while self._signals.wish != "pause":
                self._signals.changed.clear()
                changed = asyncio.ensure_future(self._signals.changed.wait())
                await asyncio.wait({task, changed}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if task.done():
                    return task.result()
            if cut and not task.done():
                await asyncio.wait({task}, timeout=0 if self._idle else GRACE)
                if not task.done():
                    await _cancelled(task)
                    raise Stopped("pause")
            return await task
        finally:
            if not task.done():
                await _cancelled(task)

    async def _waiting(self, seconds: float, why: str) -> None:
        self._idle = bool(why)
        if not why:
            return  # it is its turn
        self._signals.changed.set()
        await self._store.limited(self._attempt, seconds, why)

    # --- the journal ----------------------------------------------------------------------------

    async def _journal(self, called: Called | None = None, *, note: str = "", following: Wanted | None = None) -> None:
        beat = await self._store.journal(
            self._attempt,
            self._base + self._kept,
            self._entries[self._kept :],
            call=_spent(called) if called else None,
            following=following,
            note=note,
        )
        self._idle = False
        self._heed(beat)
        self._kept = len(self._entries)
        crash_point("after_journal")
        if called:
            self._reserved = following is not None and not beat.over
        self._stop_if_paused(beat)

    def _stop_if_paused(self, beat: Beat) -> None:
        if beat.wish == "pause" or self._draining.is_set():
            raise Stopped("pause")

    def _heed(self, beat: Beat) -> None:
        if beat.fence in (Fence.LOST, Fence.GONE, Fence.GAP):
            raise Stopped(beat.fence)
        self._guided = beat.guided
        self._hurried = beat.hurried

    def _add(
        self,
        call_id: str,
        name: str,
        worked: bool,
        text: str,
        *,
        broken: bool = False,
        changes: Mapping[str, Written] = NO_CHANGES,
    ) -> None:
        body: dict[str, Any] = {"id": call_id, "name": name, "ok": worked, "text": self._clean.text(text)}
        if broken:
            body["broken"] = True
        if changes:
            body["files"] = {path: written.model_dump(exclude_defaults=True) for path, written in changes.items()}
        self._entries.append(Entry(kind="result", body=body))

    def _cleaned(self, kind: Any, answer: Answer) -> Entry:
        """An answer for the journal; a model that was shown a secret somewhere doesn't carry it further."""
        text = answer.model_dump_json()
        clean = self._clean.values(text)
        return Entry(kind=kind, body=(answer if clean == text else Answer.model_validate_json(clean)).model_dump())


async def _cancelled(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})


def _spent(called: Called) -> Spent:
    answer, lost = called.answer, called.lost
    return Spent(
        tokens_in=answer.tokens_in + lost.tokens_in,
        tokens_out=answer.tokens_out + lost.tokens_out,
        cached=answer.tokens_cached,
        micros=answer.micros + lost.micros,
    )
