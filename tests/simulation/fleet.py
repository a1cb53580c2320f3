"""Worker processes and their lines to Redis: where they die, stall, and lose what they have sent or should hear."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from redis import exceptions

import worker.keeper as keeper_module
import worker.run as run_module
import worker.sweeper as sweeper_module
from config.models import REHEARSING
from config.redaction import Redactor
from pursuit.errors import PursuitError
from pursuit.models import JobRef
from pursuit.store import Store, Timing
from tests.simulation import roles
from tests.simulation.oracle import Violation
from worker.llm.caller import Caller

if TYPE_CHECKING:
    from tests.simulation.world import Chord, World

TIMING = Timing(lease=30, beat=10, sweep=2, redispatch=15, redispatch_most=120, chord_grace=5, attempts=3)


class Process:
    """A worker process: its store, its keeper, its caretaker. Dead, it does nothing more; stalled, nothing for now."""

    def __init__(self, world: World, name: str, *, patience: int = 100) -> None:
        self.world, self.name = world, name
        self.dead = False
        self.stalled_until = 0.0
        self.store = self._store(patience)
        self.caretaker_store = self._store(1)
        self.keeper = keeper_module.Keeper(TIMING)
        self.app: Any = SimpleNamespace(process=self, gathered=self._gathered, backlog=lambda queue: 0)
        self.runtime: Any = SimpleNamespace(
            store=self.store,
            app=self.app,
            models=SimpleNamespace(of=lambda name, role: Caller(roles.Player(self), REHEARSING)),
            redactor=Redactor(),
            check_prices=lambda goal: None,
            draining=SimpleNamespace(is_set=lambda: False),
            blobs=SimpleNamespace(put_text=lambda text, durable=False: world.put(text)),
            process=self,
        )

    def _store(self, patience: int) -> Store:
        client: Any = Line(self, patience)
        return Store(
            client, shards=1, timing=TIMING, clock=self.world.now, archive=self.world.blobs.__getitem__, flags=True
        )

    @contextmanager
    def _gathered(self) -> Iterator[None]:
        yield

    def die(self) -> None:
        if not self.dead:
            self.dead = True
            self.world.oracle.count("crash")
            self.world.died(self)

    async def until_alive(self) -> None:
        """Returns when the process may do something; never again once it is dead."""
        while self.stalled_until > self.world.loop.time():
            await asyncio.sleep(self.stalled_until - self.world.loop.time())
        if self.dead:
            await asyncio.get_running_loop().create_future()

    async def handle(self, ref: JobRef, chord: Chord | None) -> None:
        """What Celery would do with a message."""
        try:
            await run_module.run(self.runtime, self.keeper, ref, in_chord=chord is not None)
        except PursuitError:
            self.world.oracle.count("left to the sweeper")
        await self.until_alive()
        if chord:
            chord.ended(ref)

    async def care(self) -> None:
        """worker/process.py in virtual time."""
        next_beat = self.world.loop.time() + TIMING.beat
        next_audit = self.world.rng.uniform(60, 600)
        while not self.dead:
            await self.until_alive()
            try:
                if self.world.loop.time() >= next_beat:
                    next_beat = self.world.loop.time() + TIMING.beat
                    await self.keeper.beat(self.caretaker_store)
                if len(self.keeper):
                    await self.keeper.watch(self.caretaker_store)
                if self.world.something_is_due():
                    await sweeper_module.sweep(self.caretaker_store, self.app, self.name)
                if self.world.loop.time() >= next_audit:
                    next_audit += 600
                    server = self.world.server
                    # an audit reads a log in pages: one that Redis has gone back under may see a gap that isn't there
                    if await sweeper_module.audit(self.caretaker_store) and server == self.world.server:
                        raise Violation("an audit found something to repair")
            except PursuitError:
                self.world.oracle.count("caretaker tries again")
            self.keeper.fence()
            await asyncio.sleep(TIMING.sweep * self.world.rng.uniform(0.8, 1.2))


class Line:
    """A process's connection to Redis, as redis-py keeps it: what fails is asked again, with all that follows."""

    def __init__(self, process: Process, patience: int) -> None:
        self._process, self._patience = process, patience
        self._world = process.world

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def command(*args: Any, **options: Any) -> Any:
            return await self._carry(lambda: self._world.carry_out(name, args, options))

        return command

    def pipeline(self, transaction: bool = False) -> Batch:
        return Batch(self)

    async def _carry(self, operation: Callable[[], Any]) -> Any:
        world, process, rng = self._world, self._process, self._world.rng
        for attempt in range(self._patience + 1):
            await asyncio.sleep(rng.choice((0.0, 0.001, 0.003, 0.02)))
            w = world.weather
            if rng.random() < w.stall and process.stalled_until <= world.loop.time():
                process.stalled_until = world.loop.time() + rng.choice((5.0, 20.0, 35.0, 60.0, 200.0))
                world.oracle.count("stall")
            await process.until_alive()
            if rng.random() < w.crash:
                process.die()
                await process.until_alive()
            if world.away or rng.random() < w.request_lost:
                await asyncio.sleep(min(1.0, 0.05 * 2**attempt) * rng.random())
                continue
            reply = operation()
            if rng.random() < w.crash:
                process.die()
            await process.until_alive()
            if rng.random() < w.reply_lost:
                world.oracle.count("reply lost")
                await asyncio.sleep(rng.choice((0.1, 1.0, 10.0)))
                continue
            if isinstance(reply, Exception):
                raise reply
            return reply
        raise exceptions.ConnectionError("Redis is away")


class Batch:
    """A pipeline; it may be cut after any of its commands."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._commands: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **options: self._commands.append((name, args, options))

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        world = self._line._world

        def operation() -> Any:
            replies = []
            for command in self._commands:
                replies.append(world.carry_out(*command))
                if world.rng.random() < world.weather.request_lost / 4:
                    return exceptions.ConnectionError("cut in the middle of a pipeline")
            return replies

        for _ in range(3):
            try:
                replies: list[Any] = await self._line._carry(operation)
            except exceptions.ConnectionError:
                continue
            if raise_on_error:
                for reply in replies:
                    if isinstance(reply, Exception):
                        raise reply
            return replies
        raise exceptions.ConnectionError("Redis is away")
