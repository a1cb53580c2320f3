"""One worker process: a loop for all sub-agents, and a thread beside it for heartbeats and sweeping."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from concurrent.futures import Future

import structlog

from config.celery import PursuitCelery
from config.settings import Settings
from pursuit.errors import PursuitError
from pursuit.models import JobRef
from pursuit.store import Store
from worker.keeper import Keeper
from worker.run import run
from worker.runtime import Runtime, connect
from worker.sweeper import audit, sweep

log = structlog.get_logger(__name__)

#: seconds between tries while Redis is away
AWAY = 1.0
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
        """Beats, watches and sweeps until told to stop; outlives any absence of Redis."""
        timing, name = self._settings.timing(), f"{socket.gethostname()}:{os.getpid()}"
        store: Store | None = None
        auditing: asyncio.Task[None] | None = None
        next_beat, next_audit = time.monotonic() + timing.beat, time.monotonic() + AUDIT
        while not self._stopping.is_set():
            try:
                if store is None:
                    # little patience here: whoever waits for Redis can't fence
                    redis = connect(self._settings.state_url(), connections=4, retries=1, timeout=timing.beat)
                    store = await Store.open(redis, shards=self._settings.shards, timing=timing)
                if time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + timing.beat
                    await self._keeper.beat(store)
                await self._keeper.watch(store)
                await sweep(store, self._app, name)
                if time.monotonic() >= next_audit and (auditing is None or auditing.done()):
                    next_audit = time.monotonic() + AUDIT
                    # beside the beats: it may take longer than a lease
                    auditing = asyncio.create_task(_audit(store, name))
            except Exception as error:  # the caretaker must outlive whatever redis-py, kombu and sockets raise
                log.warning("caretaker: trying again", error=f"{type(error).__name__}: {error}")
            self._keeper.fence()
            await asyncio.sleep(min(timing.sweep, max(0.05, next_beat - time.monotonic())))


async def _audit(store: Store, name: str) -> None:
    try:
        if await store.lead_audit(name, AUDIT):
            await audit(store)
    except PursuitError as error:
        log.warning("no audit this time", error=str(error))


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
