"""One worker process: a loop for all sub-agents, and a thread beside it for heartbeats and sweeping."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

import structlog

from config.celery import PursuitCelery
from config.settings import Settings
from pursuit.errors import PursuitError
from pursuit.models import JobRef
from pursuit.store import Store, Timing
from worker.keeper import Keeper
from worker.run import run
from worker.runtime import Runtime, connect
from worker.sweeper import audit, sweep

log = structlog.get_logger(__name__)

#: seconds between tries while Redis is away
AWAY = 1.0
#: seconds between looks at leases that have ended
FENCE = 0.25
#: seconds between looks at what people want: what they say is heard within a second, also in the middle of a call
WATCH = 0.5
#: seconds between audits of all goals; one process does it, as they all ask for the same lead
AUDIT = 600.0


class Process:
    """Starts with `start`; Celery's threads hand jobs to `run` and wait for the answer."""

    def __init__(self, settings: Settings, app: PursuitCelery) -> None:
        self._settings, self._app = settings, app
        self._keeper = Keeper(settings.timing())
        self._loop = asyncio.new_event_loop()
        self._runtime: Future[Runtime] | None = None
        self._stopping, self._draining = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        """Starts both threads; safe to repeat."""
        with self._lock:
            if self._threads:
                return
            self._threads = [
                threading.Thread(target=self._loop.run_forever, name="subagents", daemon=True),
                threading.Thread(target=lambda: asyncio.run(self._care()), name="caretaker", daemon=True),
            ]
            for thread in self._threads:
                thread.start()
            self._runtime = asyncio.run_coroutine_threadsafe(self._open(), self._loop)

    def run(self, ref: JobRef, *, in_chord: bool) -> str:
        """Runs one job in the shared loop and waits for what came of it, in a word."""
        self.start()
        return asyncio.run_coroutine_threadsafe(self._run(ref, in_chord=in_chord), self._loop).result()

    def drain(self) -> None:
        """Lets sub-agents hand their jobs back after the current step, for others to go on with at once."""
        self._draining.set()

    def stop(self) -> None:
        """Ends both threads; attempts that still run are left to their leases."""
        self._stopping.set()
        if self._threads:
            self._threads[1].join(timeout=5)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._threads[0].join(timeout=5)

    async def _open(self) -> Runtime:
        while True:
            try:
                return await Runtime.open(self._settings, self._app, self._draining)
            except PursuitError as error:
                log.warning("waiting for the store", error=str(error))
                await asyncio.sleep(AWAY)

    async def _run(self, ref: JobRef, *, in_chord: bool) -> str:
        if self._runtime is None:
            raise RuntimeError("the process has not been started")
        runtime = await asyncio.wrap_future(self._runtime)
        try:
            return await run(runtime, self._keeper, ref, in_chord=in_chord)
        except PursuitError as error:
            # the job stays in the due index; a sweeper brings it back
            log.warning("left to the sweeper", goal=ref.goal, job=ref.job, error=str(error))
            return "left"

    async def _care(self) -> None:
        """Beats, fences, watches, sweeps and audits until told to stop; outlives any absence of Redis.

        Side by side, so that none holds up another: a broker that hangs must not cost the process its leases.
        """
        timing, name = self._settings.timing(), f"{socket.gethostname()}:{os.getpid()}"
        care = _Care(self._settings, timing)

        async def audit_if_leading() -> None:
            store = await care.store()
            if await store.lead_audit(name, AUDIT):
                await audit(store)

        async def sweep_once() -> None:
            await sweep(await care.store(), self._app, name)

        async def watch() -> None:
            await self._keeper.watch(await care.store())

        async def beat() -> None:
            await self._keeper.beat(await care.store())

        async def fence() -> None:
            self._keeper.fence()

        await asyncio.gather(
            self._every(timing.beat, beat),
            self._every(FENCE, fence),
            self._every(min(WATCH, timing.sweep), watch),
            self._every(timing.sweep, sweep_once),
            self._every(AUDIT, audit_if_leading, at_once=False),
        )

    async def _every(self, seconds: float, act: Callable[[], Awaitable[None]], *, at_once: bool = True) -> None:
        due = time.monotonic() + (0 if at_once else seconds)
        while not self._stopping.is_set():
            if time.monotonic() >= due:
                due = time.monotonic() + seconds
                try:
                    await act()
                except Exception as error:  # it must outlive whatever redis-py, kombu and sockets raise
                    log.warning("caretaker: trying again", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(min(FENCE, max(0.01, due - time.monotonic())))


class _Care:
    """The caretaker's store, opened when first needed and reachable."""

    def __init__(self, settings: Settings, timing: Timing) -> None:
        self._settings, self._timing = settings, timing
        self._store: Store | None = None
        self._lock = asyncio.Lock()

    async def store(self) -> Store:
        async with self._lock:
            if self._store is None:
                # little patience here: whoever waits for Redis doesn't beat
                redis = connect(self._settings.state_url(), connections=6, retries=1, timeout=self._timing.beat)
                self._store = await Store.open(redis, shards=self._settings.shards, timing=self._timing)
            return self._store


_process: Process | None = None


def process() -> Process:
    """This process's one."""
    if _process is None:
        raise RuntimeError("worker.app has not been imported")
    return _process


def set_process(settings: Settings, app: PursuitCelery) -> Process:
    global _process
    _process = Process(settings, app)
    return _process
