"""A fleet in miniature: the house's own code for workers, keeper, sweeper and store, around which everything may fail.

Real are worker/run.py, keeper.py, sweeper.py, the agent loop, the decisions, the store and its scripts on a real
Redis server. Played are the model, the broker with its chords, people, and the passing of time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from redis import Redis, exceptions

import pursuit.store.store as store_module
import worker.keeper as keeper_module
import worker.run as run_module
import worker.sweeper as sweeper_module
from pursuit.audit import Problem
from pursuit.errors import PursuitError, StoreUnavailable
from pursuit.models import AddBudget, Budget, JobRef, Submission
from pursuit.state import FINAL, JobKind, Status
from pursuit.store import Store, Timing
from pursuit.store.scripts import FLAGGED
from tests.simulation import roles
from tests.simulation.clock import VirtualLoop
from tests.simulation.oracle import Oracle, Violation

TIMING = Timing(lease=30, beat=10, sweep=2, redispatch=15, redispatch_most=120, chord_grace=5, attempts=3)
EPOCH = 1_764_000_000_000
BY_SHA = {script.sha: name for name, script in FLAGGED.items()}


@dataclass(frozen=True)
class Weather:
    """How likely each fault is, per call unless said otherwise."""

    crash: float = 0.004
    request_lost: float = 0.01
    reply_lost: float = 0.02
    message_dropped: float = 0.1
    message_doubled: float = 0.2
    message_late: float = 0.1
    poison: float = 0.02
    #: a process stops for a while before its next call, as under SIGSTOP
    stall: float = 0.006
    #: seconds between absences of Redis, on average
    away_every: float = 400.0
    rollbacks: int = 0
    goals: int = 1
    #: seconds until the faults stop
    storm: float = 600.0


CALM = Weather(0, 0, 0, 0, 0, 0, 0, 0, 1e9)


def weather(rng: random.Random) -> Weather:
    """Some runs are quiet enough for zombies to live, some are all crashes, some go back in time."""
    kind = rng.choice(("calm", "usual", "usual", "crashes", "messages", "zombies", "rollback"))
    goals = rng.choice((1, 1, 2))
    match kind:
        case "calm":
            return Weather(0.0005, 0.002, 0.005, 0.02, 0.05, 0.02, 0, 0.002, 900, goals=goals)
        case "crashes":
            return Weather(crash=0.02, goals=goals)
        case "messages":
            return Weather(message_dropped=0.4, message_doubled=0.5, message_late=0.4, goals=goals)
        case "zombies":
            return Weather(crash=0.001, stall=0.03, goals=goals)
        case "rollback":
            return Weather(rollbacks=rng.randint(1, 3), goals=goals)
    return Weather(goals=goals)


class Process:
    """A worker process: its store, its keeper, its caretaker. Dead, it does nothing more; stalled, nothing for now."""

    def __init__(self, world: World, name: str, *, patience: int = 100) -> None:
        self.world, self.name = world, name
        self.dead = False
        self.stalled_until = 0.0
        self.store = self._store(patience)
        self.caretaker_store = self._store(1)
        self.keeper = keeper_module.Keeper(TIMING)
        self.app: Any = SimpleNamespace(process=self, gathered=self._gathered)
        self.runtime: Any = SimpleNamespace(
            store=self.store,
            app=self.app,
            model=roles.Player(self),
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


@dataclass
class Promise:
    """What people were told."""

    cancelled: set[str] = field(default_factory=set)
    submitted: set[str] = field(default_factory=set)


class World:
    """One run of the simulator: everything in it follows from the seed."""

    def __init__(self, seed: int, redis: Redis, loop: VirtualLoop) -> None:
        self.seed, self.redis, self.loop = seed, redis, loop
        self.rng = random.Random(seed)
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
        self.promise = Promise()
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
        promise = Promise(set(self.promise.cancelled), set(self.promise.submitted))
        self.snapshots.append((dumps, self.oracle.memory.copy(), promise))

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
        self.oracle.memory, self.promise = memory.copy(), Promise(set(promise.cancelled), set(promise.submitted))
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

    # --- people -------------------------------------------------------------------------------

    async def submit(self, number: int) -> None:
        goal = f"goal_{self.seed:09d}{number:02d}"
        budget = Budget(rounds=self.rng.choice((2, 6, 20)), steps=self.rng.choice((30, 4000)))
        wish = Submission(objective=f"Goal {number} of seed {self.seed}", budget=budget)
        for _ in range(50):
            try:
                await self.asked(lambda s: s.submit(wish, key=f"key-{number}", goal=goal))
            except PursuitError:
                await asyncio.sleep(1)
                continue
            self.goals.append(goal)
            self.promise.submitted.add(goal)
            self.publish(self.api.app, JobRef.of(goal, 1, "plan"))
            return

    async def asked(self, wish: Callable[[Store], Any]) -> Any:
        """A request to the API: it may die on the way, and then the person gets no answer and asks again."""
        for _ in range(20):
            answer = asyncio.ensure_future(wish(self.api.store))
            done, _ = await asyncio.wait([answer], timeout=30)
            if not done:
                answer.cancel()
            elif not isinstance(answer.exception(), StoreUnavailable):
                return answer.result()
            else:
                await asyncio.sleep(5)
        raise StoreUnavailable("no answer")

    async def meddle(self) -> None:
        """People at random times: each command may be sent again under its key until an answer comes."""
        rng = self.rng
        number = 0
        cancels, pause = rng.random() < 0.3, rng.choice((5, 20, 60))
        while self.loop.time() < self.weather.storm and self.weather is not CALM:
            await asyncio.sleep(rng.expovariate(1 / pause))
            if not self.goals:
                continue
            goal, number = rng.choice(self.goals), number + 1
            verbs = ["pause", "resume", "resume", "after_round", "answer", "answer", "guide"]
            verb = rng.choice([*verbs, *(["cancel"] if cancels else [])])
            try:
                await self.act(goal, verb, f"{verb}-{number}")
            except PursuitError as error:
                self.oracle.count(f"refused {type(error).__name__}")

    async def act(self, goal: str, verb: str, key: str) -> None:
        match verb:
            case "pause":
                await self.asked(lambda s: s.pause(goal, key=key))
            case "after_round":
                await self.asked(lambda s: s.pause(goal, mode="after_round", key=key))
            case "resume":
                await self.asked(lambda s: s.resume(goal, add=AddBudget(rounds=1, steps=10), key=key))
            case "guide":
                await self.asked(lambda s: s.guide(goal, f"mind {key}", key=key))
            case "cancel":
                await self.asked(lambda s: s.cancel(goal, key=key))
                self.promise.cancelled.add(goal)
            case "answer":
                for question in await self.asked(lambda s: s.inbox()):
                    ref = await self.asked(lambda s, q=question: s.answer(q.goal, q.id, "yes"))
                    self.publish(self.api.app, ref)

    async def settle(self) -> None:
        """The faults have stopped: every goal must come to its end when people answer and take it up again."""
        deadline = self.loop.time() + 3 * 3600
        urged: dict[str, int] = {}
        while self.loop.time() < deadline:
            await asyncio.sleep(20)
            shown = [await self.asked(lambda s, g=goal: s.goal(g)) for goal in self.living()]
            if all(goal.status in FINAL for goal in shown):
                return
            await self.act("", "answer", "")
            for goal in shown:
                if goal.status in (Status.PAUSED, Status.BLOCKED) or goal.pausing:
                    urged[goal.id] = urged.get(goal.id, 0) + 1
                    verb = "resume" if urged[goal.id] < 8 else "cancel"
                    await self.act(goal.id, verb, f"settle-{goal.id}-{urged[goal.id]}")
        raise Violation(f"I5: not at its end three hours after the last fault: {[str(g.status) for g in shown]}")

    def living(self) -> list[str]:
        """The goals that Redis still knows: one may have gone with a rollback."""
        return [goal for goal in self.goals if self.redis.exists(self.api.store.keys.goal(goal))]

    async def play(self) -> None:
        for _ in range(3):
            self.start_process()
        story = asyncio.gather(
            self.disturb(), self.meddle(), *(self._submit_later(n) for n in range(self.weather.goals))
        )
        await self._unless_broken(story)
        await self._unless_broken(asyncio.ensure_future(self.settle()))
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
        await self.submit(number)

    async def judge(self) -> None:
        """The whole of it once more, at the end."""
        if broken := self.broken or self.oracle.broken:
            raise broken
        store = self.api.store
        for goal in self.promise.submitted:
            if goal not in self.living():
                raise Violation(f"I13: {goal} was accepted and is gone")
        for goal in self.living():
            found: list[Problem] = await store.audit(goal)
            if found:
                raise Violation(f"{found[0].invariant}: {found[0].text} ({goal})")
            shown = await store.goal(goal)
            if goal in self.promise.cancelled and shown.status is not Status.CANCELLED:
                raise Violation(f"{goal} was said to be cancelled and is {shown.status}")
            if shown.usage.steps != self.oracle.memory.steps.get(goal, 0):
                raise Violation(f"I12: {shown.usage.steps} steps counted, {self.oracle.memory.steps.get(goal, 0)} made")
            added = sum(self.oracle.memory.added.get(goal, {}).values())
            first = int(self.redis.hget(store.keys.goal(goal), "budget_rounds") or 0) - added
            if first not in (2, 6, 20):
                raise Violation(f"a command was carried out twice: {first + added} rounds with {added} added")
            if shown.status is Status.COMPLETED:
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
