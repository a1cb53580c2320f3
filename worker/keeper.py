"""Keeps the leases of a process's attempts, tells them what people want, and fences them when it can't.

One thread with a loop and a connection of its own, so that a busy worker loop doesn't cost it its leases.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from config.crashpoints import crash_point
from pursuit.errors import PursuitError
from pursuit.store import Attempt, Fence, Store, Timing
from worker.signals import Signals, set_signals

log = structlog.get_logger(__name__)


@dataclass
class Kept:
    """A live attempt: its task, the loop it runs in, and until when its lease surely holds."""

    attempt: Attempt
    task: asyncio.Task[object]
    loop: asyncio.AbstractEventLoop
    until: float
    signals: Signals

    def cut(self) -> None:
        self.loop.call_soon_threadsafe(self.task.cancel)

    def tell(self, wish: str, guided: int) -> None:
        self.loop.call_soon_threadsafe(self.signals.tell, wish, guided)


class Keeper:
    """The live attempts of this process."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._kept: dict[str, Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @asynccontextmanager
    async def keep(self, attempt: Attempt) -> AsyncIterator[None]:
        """Keeps the attempt's lease while inside; cancels the running task when it is lost."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an attempt runs inside a task")
        until = time.monotonic() + self._timing.lease
        signals = Signals()
        set_signals(signals)
        self._kept[attempt.nonce] = Kept(attempt, task, asyncio.get_running_loop(), until, signals)
        try:
            yield
        finally:
            del self._kept[attempt.nonce]

    async def beat(self, store: Store) -> None:
        """One heartbeat of all attempts in one pipeline."""
        live = list(self._kept.values())
        began = time.monotonic()
        try:
            beats = await store.beat([kept.attempt for kept in live])
        except PursuitError as error:
            log.warning("heartbeat failed", error=str(error))
            beats = [None] * len(live)
        for kept, beat in zip(live, beats, strict=True):
            if beat is not None and beat.fence is Fence.KEPT:
                kept.until = began + self._timing.lease
            elif beat is not None:
                kept.cut()
        self.fence()
        if live:
            crash_point("after_beat")

    def fence(self) -> None:
        """Stops every attempt whose lease may have ended: another worker may have its job."""
        now = time.monotonic()
        for kept in list(self._kept.values()):
            if now >= kept.until:
                log.warning("lease ended without a heartbeat", job=kept.attempt.ref.job)
                kept.cut()

    async def watch(self, store: Store) -> None:
        """Cuts the attempts of goals that are over, and tells the others what people want; cheap enough to do often."""
        goals = {kept.attempt.ref.goal for kept in self._kept.values()}
        wishes = await store.wishes(goals)
        for kept in list(self._kept.values()):
            known = wishes.get(kept.attempt.ref.goal)
            if known is not None and known.over:
                kept.cut()
            elif known is not None:
                kept.tell(known.wish, known.guided)
