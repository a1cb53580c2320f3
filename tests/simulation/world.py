"""A fleet in miniature: the house's own code for workers, keeper, sweeper and store, around which everything may fail.

Real are worker/run.py, keeper.py, sweeper.py, the agent loop, the decisions, the store and its scripts on a real
Redis server. Played are the model, the broker with its chords, people, and the passing of time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from redis import Redis, exceptions

import pursuit.store.store as store_module
import worker.keeper as keeper_module
import worker.run as run_module
import worker.sweeper as sweeper_module
from pursuit.audit import Problem
from pursuit.models import JobRef
from pursuit.state import JobKind, Reason, Status
from pursuit.store.scripts import FLAGGED
from tests.simulation import roles
from tests.simulation.clock import VirtualLoop
from tests.simulation.fleet import Process
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.people import People, Promise
from tests.simulation.weather import CALM, weather

EPOCH = 1_764_000_000_000
BY_SHA = {script.sha: name for name, script in FLAGGED.items()}


@dataclass
class Chord:
    """Celery's: counts the header, then sends the body. It may be lost, and counts a doubled header twice."""

    world: World
    body: JobRef
    left: int
    lost: bool

    def ended(self, ref: JobRef) -> None:
        self.left -= 1
        if self.left == 0 and not self.lost:
            self.world.send(self.body, None)


class World:
    """One run of the simulator: everything in it follows from the seed."""

    def __init__(self, seed: int, redis: Redis, loop: VirtualLoop) -> None:
        self.seed, self.redis, self.loop = seed, redis, loop
        self.rng = random.Random(seed)
        random.seed(seed)  # the jitter of the house itself
        self.weather = weather(self.rng)
        self.oracle = Oracle(self.now)
        self.blobs: dict[str, str] = {}
        self.away = False
        self.server = "run-0"
        #: whether anything was written since the last look at what is due first
        self.changed, self.next_due, self.known_server = True, 0.0, ""
        self.led: dict[str, tuple[str, float]] = {}
        self.processes: list[Process] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.broken: BaseException | None = None
        self.goals: list[str] = []
        self.people = People(self)
        self.snapshots: list[tuple[dict[str, tuple[bytes, int]], Any, Promise]] = []
        self.api = Process(self, "api", patience=3)

    # --- time and Redis -----------------------------------------------------------------------

    def now(self) -> int:
        return EPOCH + int(self.loop.time() * 1000)

    def put(self, text: str) -> str:
        name = hashlib.sha256(text.encode()).hexdigest()
        self.blobs[name] = text
        return name

    def something_is_due(self) -> bool:
        """Saves a look at the due index when nothing is due; the sweeper itself always looks."""
        if self.changed:
            self.changed = False
            first = self.redis.zrange("pursuit:{s00}:due", 0, 0, withscores=True)
            self.next_due = first[0][1] if first else float("inf")
            self.known_server = self.redis.get("pursuit:{s00}:server")
        return self.next_due <= self.now() or self.known_server != self.server

    def carry_out(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """One command on the real server; an error is an answer too."""
        if name == "info":
            return {"redis_version": "7.0.0", "run_id": self.server, "maxmemory": 0}
        if name == "time":
            return (self.now() // 1000, self.now() % 1000 * 1000)
        if str(args[0]).endswith((":sweeper", ":auditor")):
            return self._lead(name, args, options)
        self.changed = self.changed or name in ("evalsha", "eval", "set")
        if name == "evalsha":
            # the time of Redis is when a script is carried out, not when it was asked for
            place = 2 + int(args[1])
            args = (*args[:place], str(self.now()), *args[place + 1 :])
        try:
            reply = getattr(self.redis, name)(*args, **options)
        except exceptions.ResponseError as error:
            reply = error
        if name == "evalsha" and not isinstance(reply, exceptions.NoScriptError):
            self._witness(BY_SHA[args[0]], list(args[2:]), reply)
        return reply

    def _witness(self, name: str, words: list[Any], reply: Any) -> None:
        key = words[0]
        keys = 3 if name == "submit" else 2
        seq = int(self.redis.hget(key, "seq") or 0)
        try:
            self.oracle.script(name, key.rpartition(":")[2], words[keys:], reply, seq=seq)
            if self.rng.random() < 0.02:
                self._look()
        except Violation as violation:
            self.stop(violation)

    def _lead(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The lead of a shard with its expiry in virtual time; now and then two believe that they have it."""
        key = str(args[0])
        holder, until = self.led.get(key, ("", 0.0))
        if until <= self.loop.time() or self.rng.random() < 0.05:
            holder = ""
        if name == "set" and not holder:
            self.led[key] = (args[1], self.loop.time() + options["px"] / 1000)
            return True
        return holder if name == "get" else None

    def _look(self) -> None:
        """The invariants that can be read from the keys, at this instant."""
        for goal in self.goals:
            words = ["audit", *self.api.store._pair(goal), str(self.now()), 0, "[]"]
            status, *wrong = self.redis.eval(FLAGGED["audit"].text, 2, *words[1:3], *words[3:])
            if wrong:
                raise Violation(f"{wrong[0][0]}: {wrong[0][1]} ({goal}, {status})")

    def remember(self) -> None:
        keys = sorted(self.redis.keys("*"))
        dumps = {key: (self._raw("DUMP", key), max(0, self.redis.pttl(key))) for key in keys}
        self.snapshots.append((dumps, self.oracle.memory.copy(), self.people.promise.copy()))

    def _raw(self, *words: Any) -> Any:
        connection = self.raw.connection_pool.get_connection()
        try:
            connection.send_command(*words)
            return connection.read_response(disable_decoding=True)
        finally:
            self.raw.connection_pool.release(connection)

    @property
    def raw(self) -> Redis:
        return self.redis

    def go_back(self) -> None:
        """Redis loses its last moments, as after a power cut; another server process answers."""
        dumps, memory, promise = self.rng.choice(self.snapshots[-6:])
        self.changed = True
        self.redis.flushdb()
        for key, (dump, expires) in dumps.items():
            self._raw("RESTORE", key, expires, dump)
        self.oracle.memory, self.people.promise = memory.copy(), promise.copy()
        self.server = f"run-{int(self.server[4:]) + 1}"
        self.oracle.count("rollback")

    # --- messages -----------------------------------------------------------------------------

    def send(self, ref: JobRef, chord: Chord | None) -> None:
        """One message: lost, doubled, late, or as it should be."""
        w, rng = self.weather, self.rng
        if rng.random() < w.message_dropped:
            self.oracle.count("message dropped")
            return
        copies = rng.choice((2, 2, 3, 5)) if rng.random() < w.message_doubled else 1
        for _ in range(copies):
            delay = rng.choice((2.0, 20.0, 60.0, 600.0)) if rng.random() < w.message_late else 0.05
            self.loop.call_later(delay * rng.random(), self._deliver, ref, chord)

    def _deliver(self, ref: JobRef, chord: Chord | None) -> None:
        able = [process for process in self.processes if not process.dead]
        if not able:
            self.loop.call_later(1.0, self._deliver, ref, chord)
            return
        self.begin(self.rng.choice(able).handle(ref, chord))

    def publish(self, app: Any, ref: JobRef) -> None:
        self._may_die(app.process)
        if not app.process.dead:
            self.send(ref, None)

    def publish_round(self, app: Any, refs: Sequence[JobRef]) -> None:
        verify = JobRef.of(refs[0].goal, refs[0].round, "verify")
        chord = Chord(self, verify, len(refs), self.rng.random() < self.weather.message_dropped)
        for ref in refs:
            self._may_die(app.process)
            if app.process.dead:
                return
            self.send(ref, chord)

    def _may_die(self, process: Process) -> None:
        if self.rng.random() < self.weather.crash:
            process.die()

    # --- life ---------------------------------------------------------------------------------

    def begin(self, coroutine: Any) -> None:
        task = self.loop.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception():
            self.stop(task.exception())

    def stop(self, why: BaseException | None) -> None:
        self.broken = self.broken or why

    def start_process(self) -> None:
        process = Process(self, f"w{len(self.processes)}-{self.loop.time():.0f}")
        self.processes.append(process)
        self.begin(process.care())

    def died(self, process: Process) -> None:
        if process in self.processes:
            self.processes.remove(process)
            self.loop.call_later(self.rng.choice((0.5, 5.0, 60.0)) * self.rng.random(), self.start_process)
        else:
            self.api = Process(self, "api", patience=3)

    async def disturb(self) -> None:
        """Stalls, absences of Redis, rollbacks, until the storm is over."""
        w, rng = self.weather, self.rng
        back = sorted(rng.uniform(60, w.storm) for _ in range(w.rollbacks))
        next_away = rng.expovariate(1 / w.away_every)
        while self.loop.time() < w.storm:
            await asyncio.sleep(1.0)
            time = self.loop.time()
            if w.rollbacks and int(time) % 15 == 0:
                self.remember()
            if back and time > back[0] and self.snapshots:
                back.pop(0)
                self.go_back()
            if time > next_away:
                next_away = time + rng.expovariate(1 / w.away_every)
                self.away = True
                self.loop.call_later(rng.choice((0.5, 5.0, 40.0, 130.0)), self._back)
                self.oracle.count("Redis away")
        self.weather = CALM
        for process in self.processes:
            process.stalled_until = 0.0

    def _back(self) -> None:
        self.away = False

    def living(self) -> list[str]:
        """The goals that Redis still knows: one may have gone with a rollback."""
        return [goal for goal in self.goals if self.redis.exists(self.api.store.keys.goal(goal))]

    async def play(self) -> None:
        for _ in range(3):
            self.start_process()
        story = asyncio.gather(
            self.disturb(), self.people.meddle(), *(self._submit_later(n) for n in range(self.weather.goals))
        )
        await self._unless_broken(story)
        await self._unless_broken(asyncio.ensure_future(self.people.settle()))
        await asyncio.sleep(700)  # late messages come after the end
        await self.judge()

    async def _unless_broken(self, story: asyncio.Future[Any]) -> None:
        while not story.done() and (self.broken or self.oracle.broken) is None:
            await asyncio.wait([story], timeout=5)
        if broken := self.broken or self.oracle.broken:
            story.cancel()
            raise broken
        story.result()

    async def _submit_later(self, number: int) -> None:
        await asyncio.sleep(self.rng.uniform(0, 30))
        await self.people.submit(number)

    async def judge(self) -> None:
        """The whole of it once more, at the end."""
        if broken := self.broken or self.oracle.broken:
            raise broken
        store = self.api.store
        for goal in self.people.promise.submitted:
            if goal not in self.living():
                raise Violation(f"I13: {goal} was accepted and is gone")
        for goal in self.living():
            found: list[Problem] = await store.audit(goal)
            if found:
                raise Violation(f"{found[0].invariant}: {found[0].text} ({goal})")
            shown = await store.goal(goal)
            if goal in self.people.promise.cancelled and shown.status is not Status.CANCELLED:
                raise Violation(f"{goal} was said to be cancelled and is {shown.status}")
            if shown.usage.steps != self.oracle.memory.steps.get(goal, 0):
                raise Violation(f"I12: {shown.usage.steps} steps counted, {self.oracle.memory.steps.get(goal, 0)} made")
            added = sum(self.oracle.memory.added.get(goal, {}).values())
            first = int(self.redis.hget(store.keys.goal(goal), "budget_rounds") or 0) - added
            if first not in (2, 6, 20):
                raise Violation(f"a command was carried out twice: {first + added} rounds with {added} added")
            if shown.status is Status.COMPLETED and shown.reason is Reason.MET:
                ended = await store.jobs(goal, shown.round)
                if any(not job.ended for job in ended.values()):
                    raise Violation(f"I10: {goal} is completed with unfinished jobs")
        left = [key for key in self.redis.keys("*") if self.redis.ttl(key) < 0]
        if set(left) - {"pursuit:{s00}:server"}:
            raise Violation(f"keys without expiry after the end: {left}")


@contextmanager
def played(world: World) -> Iterator[None]:
    """The house's code with this world's broker, roles, clock and chance."""
    chance = random.Random(world.seed + 1)
    replaced: list[tuple[Any, str, Any]] = [
        (run_module, "publish", world.publish),
        (run_module, "publish_round", world.publish_round),
        (run_module, "WORK", {kind: roles.WORK[kind] for kind in JobKind}),
        (sweeper_module, "publish", world.publish),
        (keeper_module, "time", SimpleNamespace(monotonic=world.loop.time)),
        (store_module, "uuid4", lambda: SimpleNamespace(hex=f"{chance.getrandbits(64):016x}")),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    for module, name, value in replaced:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def simulate(seed: int, redis: Redis) -> dict[str, int]:
    """One run; returns how often what happened. Raises Violation, or whatever the house's code stumbled over."""
    redis.flushdb()
    for script in FLAGGED.values():
        redis.script_load(script.text)
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    world = World(seed, redis, loop)
    try:
        with played(world):
            loop.run_until_complete(world.play())
    finally:
        for _ in range(3):
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        asyncio.set_event_loop(None)
    world.oracle.count("virtual seconds")
    world.oracle.seen["virtual seconds"] = int(loop.passed)
    return world.oracle.seen


def trace(seed: int, redis: Redis) -> str:
    """What happened in a run, in one line; the same for the same seed."""
    return json.dumps(simulate(seed, redis), sort_keys=True)
