"""One model call as a role makes it: let in by the governor, tried again where that may help, its trouble typed."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any

from config.models import Profile
from pursuit.store import Spent, Wanted
from worker.llm.completion import CHARACTERS
from worker.llm.governor import Closed, Governor, Waiting
from worker.llm.model import (
    Answer,
    CutOff,
    Garbled,
    Message,
    Model,
    ModelError,
    NotConfigured,
    QuotaUsedUp,
    RateLimited,
    Unavailable,
)

#: tries of one call that fails for the endpoint's own reasons; between them 1, 2, 4 ... seconds, with jitter
TRIES = 5
#: seconds for which one call puts up with being rate-limited, tried or waiting its turn
PATIENCE = 1800.0
#: tokens of an answer, where nothing is known yet
ANSWER = 1_000


NOTHING = Spent()


@dataclass(frozen=True)
class Called:
    """An answer, and what tries that brought none have used all the same."""

    answer: Answer
    lost: Spent = NOTHING


class Caller:
    """Calls one profile's model, for all sub-agents of a process."""

    def __init__(self, model: Model, profile: Profile, governor: Governor | None = None) -> None:
        self._model, self.profile, self._governor = model, profile, governor

    async def close(self) -> None:
        await self._model.close()

    def wanted(self, kind: str, tokens_in: int, tokens_out: int = ANSWER) -> Wanted:
        """What to reserve for a call of about this size."""
        prices = self.profile.prices
        micros = prices.micros(tokens_in, tokens_out) if prices else 0
        return Wanted(kind=kind, tokens=0 if self.profile.rehearsal else tokens_in + tokens_out, micros=micros)

    async def call(
        self,
        goal: str,
        call: str,
        messages: list[Message],
        tools: list[dict[str, Any]],
        *,
        waiting: Waiting,
        only: str = "",
    ) -> Called:
        """An answer to the conversation. `call` names this call, the same on each try. Raises a ModelError."""
        try:
            return await self._call(goal, call, messages, tools, waiting, only)
        except ModelError as error:
            error.account = self.profile.account
            raise

    async def _call(
        self,
        goal: str,
        call: str,
        messages: list[Message],
        tools: list[dict[str, Any]],
        waiting: Waiting,
        only: str,
    ) -> Called:
        began, tries, lost = time.monotonic(), 0, Spent()
        size = estimate(messages) + ANSWER if self._governor else 0
        while True:
            tries += 1
            name = f"{call}.{tries}"
            try:
                if self._governor:
                    await self._governor.enter(goal, name, size, waiting)
                return Called(await self._try(goal, name, size, messages, tools, only), lost)
            except RateLimited:
                if time.monotonic() - began > PATIENCE:
                    raise
            except (Unavailable, Garbled) as error:
                lost = _plus(lost, error, size, self.profile)
                if tries >= (2 if isinstance(error, Garbled) else TRIES):
                    raise
                await asyncio.sleep(2 ** (tries - 1) * random.uniform(0.5, 1))

    async def _try(
        self, goal: str, name: str, size: int, messages: list[Message], tools: list[dict[str, Any]], only: str
    ) -> Answer:
        """One request; the governor hears how it went, whatever comes of it."""
        governor = self._governor
        if governor is None:
            return await self._model.answer(messages, tools, only=only)
        how, seconds, text, more = "other", None, "", 0
        try:
            answer = await self._model.answer(messages, tools, only=only)
            how, more = "ok", answer.tokens_in + answer.tokens_out - size
            return answer
        except RateLimited as error:
            how, seconds = "limited", error.after
            raise
        except Unavailable:
            how = "failed"
            raise
        except QuotaUsedUp as error:
            how, seconds = "quota", None if error.until is None else max(0.0, error.until - time.time())
            raise Closed(str(error), await governor.leave(goal, name, how, seconds=seconds)) from error
        except NotConfigured as error:
            how, text = "denied", str(error)
            raise
        finally:
            await governor.leave(goal, name, how, seconds=seconds, tokens=more, text=text)


def estimate(messages: list[Message]) -> int:
    """Tokens of a conversation, about."""
    characters = 0
    for message in messages:
        characters += len(message.get("content") or "") + 20
        for call in message.get("tool_calls") or ():
            characters += len(call["function"]["arguments"]) + 40
    return characters // CHARACTERS


def _plus(lost: Spent, error: ModelError, size: int, profile: Profile) -> Spent:
    """A stream that was cut, or garbage, was an answer to the provider, and is billed as one."""
    if not isinstance(error, CutOff | Garbled):
        return lost
    tokens_in = size - ANSWER
    micros = profile.prices.micros(tokens_in, 0) if profile.prices else 0
    return Spent(tokens_in=lost.tokens_in + tokens_in, micros=lost.micros + micros)
