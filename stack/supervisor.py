"""The local stack in one process tree: a private Redis, workers, the API, Flower. Restarts what dies."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx
from redis import Redis
from redis.exceptions import RedisError

from config.endpoints import detect
from config.sandbox import probe
from config.settings import Settings
from pursuit.errors import PursuitError
from pursuit.folders import STACK_FILE
from pursuit.state import Status
from pursuit.store import keys
from stack import commands
from stack.redis import PrivateRedis, die_with_parent, free_port

#: seconds that workers get to bring their sub-agents' current steps to an end
DRAIN = 15.0
#: seconds without an active goal after which a stack started by `pursuit run` ends
IDLE = 3.0
ACTIVE = (Status.QUEUED, Status.RUNNING, Status.WAITING)


@dataclass
class Part:
    """One process of the stack."""

    name: str
    argv: list[str]
    env: dict[str, str]
    log: IO[bytes]
    process: subprocess.Popen[bytes] | None = None
    died: list[float] = field(default_factory=list)

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.argv,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    @property
    def dead(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def restart_due(self, now: float) -> bool:
        """At once after a first death, later and later when it keeps dying."""
        recent = [moment for moment in self.died if now - moment < 60]
        return not recent or now - recent[-1] >= min(30.0, 0.5 * 2 ** (len(recent) - 1))


class Stack:
    """Starts, watches and ends the parts. One a data folder."""

    def __init__(self, settings: Settings, *, flower: bool = True) -> None:
        self._settings = settings
        self._flower = flower
        self._redis: PrivateRedis | None = None
        self._parts: list[Part] = []
        self._stopping = False
        self._lock: IO[str] | None = None
        self._claimed = False
        self.url = ""
        self.flower_url = ""

    def start(self) -> None:
        """Starts everything and waits until the API answers. Raises PursuitError."""
        data = self._settings.data
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._claim(data)
        if self._settings.redis_url is None:
            self._redis = PrivateRedis(data / "redis")
            self._redis.start(self._lock_number())
        port = free_port(self._settings.port)
        self.url = f"http://{self._settings.host}:{port}"
        env = self._environment()
        log = (data / "stack.log").open("ab")
        for number in range(1, commands.worker_count(self._settings) + 1):
            argv = commands.worker("subtasks", f"subagents{number}", self._settings.concurrency)
            self._parts.append(Part(f"subagents{number}", argv, env, log))
        self._parts.append(Part("rounds", commands.worker("rounds", "rounds", 16), env, log))
        self._parts.append(Part("api", commands.api(self._settings.host, port), env, log))
        if self._flower:
            self._parts.append(self._flower_part(env, log))
        for part in self._parts:
            part.start()
        self._wait_for_api()
        self._announce()

    def _claim(self, data: Path) -> None:
        self._lock = (data / "stack.lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            known = data / STACK_FILE
            where = json.loads(known.read_text())["url"] if known.exists() else "its address isn't known yet"
            raise PursuitError(
                f"a stack is running in {data} already: {where}",
                action="Use that one, stop it, or name another folder with --data.",
            ) from error
        self._claimed = True

    def _lock_number(self) -> int:
        if self._lock is None:
            raise RuntimeError("the data folder has not been claimed")
        return self._lock.fileno()

    def _environment(self) -> dict[str, str]:
        """The settings as children need them; secrets by the environment, never by the command line."""
        env = dict(os.environ)
        env["PURSUIT_REDIS_URL"] = self._redis.url if self._redis else self._settings.state_url()
        env["PURSUIT_DATA"] = str(self._settings.data.absolute())
        env["PYTHONUNBUFFERED"] = "1"
        for name, value in self._settings.model_dump(mode="json", exclude_unset=True).items():
            if name not in ("redis_url", "broker_url", "data") and value is not None:
                env[f"PURSUIT_{name.upper()}"] = value if isinstance(value, str) else json.dumps(value)
        return env

    def _flower_part(self, env: dict[str, str], log: IO[bytes]) -> Part:
        port = free_port(self._settings.flower_port)
        password = secrets.token_urlsafe(12)
        self.flower_url = f"http://pursuit:{password}@127.0.0.1:{port}"
        # its API can stop workers, so it asks who is there even on loopback
        own = {**env, "FLOWER_BASIC_AUTH": f"pursuit:{password}"}
        return Part("flower", commands.flower("127.0.0.1", port), own, log)

    def _wait_for_api(self, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if self._part("api").dead:
                break
            time.sleep(0.05)
        raise PursuitError(f"the API doesn't start; see {self._settings.data / 'stack.log'}")

    def _part(self, name: str) -> Part:
        return next(part for part in self._parts if part.name == name)

    def _announce(self) -> None:
        facts: dict[str, Any] = {
            "pid": os.getpid(),
            "url": self.url,
            "flower": self.flower_url,
            "parts": {part.name: part.process.pid for part in self._parts if part.process},
        }
        target = self._settings.data / STACK_FILE
        fresh = target.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(facts))
        fresh.replace(target)

    def watch(self, *, until_idle: bool) -> None:
        """Restarts what dies, until told to stop or, if asked, until no goal is active any more."""
        idle_since = time.monotonic()
        while not self._stopping:
            time.sleep(0.2)
            self._mend()
            if not until_idle or self._active():
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > IDLE:
                return

    def _mend(self) -> None:
        now = time.monotonic()
        if self._redis and self._redis.process and self._redis.process.poll() is not None:
            say(f"Redis ended with code {self._redis.process.returncode}; starting it again")
            self._redis.start(self._lock_number())
        for part in self._parts:
            if part.dead and part.restart_due(now):
                code = part.process.returncode if part.process else None
                say(f"{part.name} ended with code {code}; starting it again")
                part.died.append(now)
                part.start()
                self._announce()

    def _active(self) -> bool:
        url = self._redis.url if self._redis else self._settings.state_url()
        try:
            with Redis.from_url(url, decode_responses=True) as client:
                shards = int(client.hget(keys.CONFIG, "shards") or self._settings.shards)
                names = [keys.Keys(shards).listing(shard, status) for shard in range(shards) for status in ACTIVE]
                return any(client.zcard(name) for name in names)
        except RedisError:
            return True

    def ask_to_stop(self, *_: object) -> None:
        self._stopping = True

    def stop(self) -> None:
        """Ends the parts in turn: faces first, then workers with time to drain, Redis last."""
        if not self._claimed:
            return
        (self._settings.data / STACK_FILE).unlink(missing_ok=True)
        workers = [part for part in self._parts if part.name not in ("api", "flower")]
        for part in self._parts:
            if part.process and not part.dead:
                part.process.terminate()
        deadline = time.monotonic() + DRAIN
        for part in self._parts:
            _end(part, deadline if part in workers else time.monotonic() + 5)
        if self._redis:
            self._redis.stop()


def _end(part: Part, deadline: float) -> None:
    if part.process is None:
        return
    try:
        part.process.wait(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        # what it was doing comes back by its lease
        part.process.kill()
        part.process.wait()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def banner(stack: Stack, settings: Settings) -> None:
    """What runs where; the first line says who pays."""
    profile = settings.profile()
    if profile.rehearsal:
        say("Model    rehearsal: a fixed policy, no language model, no cost. For a real one set MOONSHOT_API_KEY,")
        say("         or PURSUIT_MODEL=provider:model (see README).")
    else:
        say(f"Model    {profile.provider}:{profile.model}, paid by {profile.payer}")
    if settings.commands != "off" and settings.sandbox != "none" and (problem := probe()):
        say(f"Commands off, there is no sandbox: {problem}. `pursuit doctor` says how to get it;")
        say("         checks by command can't pass until then. PURSUIT_SANDBOX=none runs them without one.")
    redis = stack._redis
    say(
        f"Redis    private, {redis.binary.name}, AOF on, in {settings.data / 'redis'}"
        if redis
        else "Redis    PURSUIT_REDIS_URL"
    )
    pids = ", ".join(f"{part.name} {part.process.pid}" for part in stack._parts if part.process)
    say(f"Workers  {commands.worker_count(settings)} x {settings.concurrency} sub-agents; process ids: {pids}")
    say(f"API      {stack.url} (docs at {stack.url}/docs)")
    if stack.flower_url:
        say(f"Flower   {stack.flower_url}")
    say(f"Log      {settings.data / 'stack.log'}")
    say("Ctrl-C drains and stops; goals go on when it is started again.")


def with_local_model(settings: Settings) -> Settings:
    """With no model set and no key, a local server that answers is used before the rehearsal model."""
    if settings.model or not settings.profile().rehearsal:
        return settings
    found = detect()
    if not found:
        return settings
    return settings.model_copy(update={"model": f"{found[0].provider}:{found[0].models[0]}"})


def main(settings: Settings, *, until_idle: bool = False, flower: bool = True, quiet: bool = False) -> int:
    """Runs the stack until a signal, or until idle. Returns the exit code."""
    settings = with_local_model(settings)
    stack = Stack(settings, flower=flower)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stack.ask_to_stop)
    try:
        stack.start()
        if not quiet:
            banner(stack, settings)
        stack.watch(until_idle=until_idle)
    except PursuitError as error:
        say(f"error: {error.detail}\n{error.cure}")
        return 1
    finally:
        stack.stop()
    return 0
