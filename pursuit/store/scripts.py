"""Runs the Lua scripts: each is sent once by hash and in full only where the server doesn't know it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, cast

from redis import exceptions
from redis.asyncio import Redis

from pursuit.errors import (
    AlreadyAnswered,
    IdempotencyMismatch,
    IllegalTransition,
    NotFound,
    PursuitError,
    Stale,
    StoreFull,
    StoreUnavailable,
)
from pursuit.state import Status, commands_for
from pursuit.store.reading import AWAY

NAMES = (
    "submit", "start", "beat", "journal", "finish", "park",
    "answer", "sweep", "pause", "resume", "cancel", "guide",
    "compact", "recover", "audit", "forget", "spend", "limited",
    "amend", "accept",
)  # fmt: skip
#: The governor's: their keys are an account's, not a goal's.
LIMIT_NAMES = ("admit", "release", "renew")

#: These make more work, so a Redis whose memory is full refuses them. All others bring work to its end, or give memory
#: back, and are let through.
OPENING = frozenset({"submit", "start"})


class Script:
    """One script: its text with the shared library in front, and the hash that names it."""

    def __init__(self, name: str, first_line: str = "") -> None:
        folder = resources.files("pursuit.store") / "lua"
        library = "_limit" if name in LIMIT_NAMES else "_lib"
        self.name = name
        self.text = first_line + (folder / f"{library}.lua").read_text() + "\n" + (folder / f"{name}.lua").read_text()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


SCRIPTS = {name: Script(name) for name in (*NAMES, *LIMIT_NAMES)}
#: The same for servers from Redis 7 on, which take a script's flags in its first line.
FLAGGED = {
    name: script if name in OPENING else Script(name, "#!lua flags=allow-oom\n") for name, script in SCRIPTS.items()
}
Clock = Callable[[], int]


class Scripts:
    """Runs scripts on a Redis client. `clock`, in ms, replaces the time of Redis in tests."""

    def __init__(self, redis: Redis, clock: Clock | None = None, *, flags: bool = False) -> None:
        self._redis = redis
        self._clock = clock
        self._scripts = FLAGGED if flags else SCRIPTS

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        """One call. Raises the error of the tree that the script's error code names."""
        script = self._scripts[name]
        words = [len(keys), *keys, self._now(), *args]
        try:
            try:
                reply = await self._redis.evalsha(script.sha, *words)
            except exceptions.NoScriptError:
                reply = await self._redis.eval(script.text, *words)
        except AWAY as error:
            raise StoreUnavailable(f"Redis: {error}") from error
        except exceptions.ResponseError as error:
            raise _translate(error) from error
        return cast(list[Any], reply)

    async def run_many(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Many calls of one script in one pipeline. An error stands in its call's place."""
        if not calls:
            return []
        script = self._scripts[name]
        try:
            replies = await self._pipeline(script, calls)
            if any(isinstance(reply, exceptions.NoScriptError) for reply in replies):
                await self._redis.script_load(script.text)
                replies = await self._pipeline(script, calls)
        except AWAY as error:
            raise StoreUnavailable(f"Redis: {error}") from error
        return replies

    async def _pipeline(self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for keys, args in calls:
            pipe.evalsha(script.sha, len(keys), *keys, self._now(), *args)
        return await pipe.execute(raise_on_error=False)

    def _now(self) -> str:
        return str(self._clock()) if self._clock else ""


def _translate(error: exceptions.ResponseError) -> PursuitError:
    code, _, text = str(error).removeprefix("ERR ").partition(" ")
    if code == "GOALSTATE":
        if text not in set(Status):
            return NotFound("there is no such goal")
        allowed = commands_for(Status(text))
        return IllegalTransition(
            f"the goal is {text}; from there a person may: {', '.join(allowed) or 'nothing, it is final'}",
            current_status=text,
            allowed=allowed,
        )
    if code == "NOTFOUND":
        return NotFound(f"there is no {text}")
    if code == "IDEMPOTENCY":
        return IdempotencyMismatch(f"this key came with another request before: {text}")
    if code == "STALE":
        return Stale(f"the goal is at revision {text} by now", revision=int(text))
    if code == "ANSWERED":
        return AlreadyAnswered(f"question {text} has another answer")
    if isinstance(error, exceptions.OutOfMemoryError) or "-OOM " in str(error):  # Redis before 7 wraps it
        return StoreFull(f"Redis: {error}")
    if "-READONLY " in str(error) or code in ("BUSY", "NOREPLICAS", "MISCONF"):
        return StoreUnavailable(f"Redis: {error}")
    return PursuitError(f"the store refused: {error}")
