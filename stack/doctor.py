"""One line a check, with its cure."""

from __future__ import annotations

import shutil
import socket
import sys
import time
from collections.abc import Callable

from redis import Redis
from redis.exceptions import RedisError

from config.endpoints import SMALL_WINDOW, check, detect
from config.models import Profile
from config.sandbox import CURE, probe
from config.settings import Settings
from pursuit.contract import Frozen
from pursuit.errors import PursuitError
from stack.redis import find_binary


class Line(Frozen):
    """What a check came to: ok, warning or error, and what to do."""

    name: str
    level: str
    text: str
    cure: str = ""


def examine(settings: Settings) -> list[Line]:
    """All checks; none raises."""
    checks: list[Callable[[Settings], list[Line]]] = [_python, _data, _redis, _model, _commands, _ports]
    return [line for check in checks for line in check(settings)]


def _python(_: Settings) -> list[Line]:
    return [Line(name="python", level="ok", text=f"{sys.version.split()[0]} at {sys.executable}")]


def _data(settings: Settings) -> list[Line]:
    folder = settings.data
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".doctor"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        cure = "Name a folder you may write with PURSUIT_DATA or --data."
        return [Line(name="data", level="error", text=f"{folder}: {error.strerror}", cure=cure)]
    free = shutil.disk_usage(folder).free // 2**20
    level, cure = ("ok", "") if free > 500 else ("warning", "Free some space, or name another folder.")
    return [Line(name="data", level=level, text=f"{folder}, {free} MiB free", cure=cure)]


def _redis(settings: Settings) -> list[Line]:
    if settings.redis_url is None:
        try:
            binary = find_binary()
        except PursuitError as error:
            return [Line(name="redis", level="error", text=error.detail, cure=error.cure)]
        return [Line(name="redis", level="ok", text=f"`up` and `run` start a private one: {binary}")]
    try:
        with Redis.from_url(settings.state_url(), decode_responses=True, socket_timeout=5) as client:
            return _server(client)
    except (RedisError, OSError) as error:
        cure = "Start it, or correct PURSUIT_REDIS_URL."
        return [Line(name="redis", level="error", text=str(error), cure=cure)]


def _server(client: Redis) -> list[Line]:
    info = client.info()
    if not isinstance(info, dict):
        return [Line(name="redis", level="error", text="INFO isn't allowed", cure="Allow it to this user.")]
    version = info.get("valkey_version") or info.get("redis_version", "?")
    lines = [Line(name="redis", level="ok", text=f"version {version}, {info.get('used_memory_human')} used")]
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        cure = "Set `maxmemory-policy noeviction`: any other throws goals away when memory runs short."
        lines.append(Line(name="redis policy", level="error", text=str(policy), cure=cure))
    if not info.get("aof_enabled"):
        cure = "Set `appendonly yes`: without it a crash of Redis loses what came since its last snapshot."
        lines.append(Line(name="redis AOF", level="warning", text="off", cure=cure))
    skew = _skew(client)
    if abs(skew) > 5:
        cure = "Leases use the time of Redis, so nothing breaks; set both clocks for readable logs."
        lines.append(Line(name="clock", level="warning", text=f"{skew:+.0f} s from Redis", cure=cure))
    return lines


def _skew(client: Redis) -> float:
    seconds, micros = client.time()
    return time.time() - (int(seconds) + int(micros) / 1e6)


def _model(settings: Settings) -> list[Line]:
    try:
        profiles = [settings.profile(role=role) for role in ("planner", "subagent", "verifier")]
    except ValueError as error:
        cure = "Correct PURSUIT_MODEL, such as moonshot:kimi-k2.6 or ollama:qwen3:14b."
        return [Line(name="model", level="error", text=str(error), cure=cure)]
    distinct = {f"{profile.name} {profile.account}": profile for profile in profiles}
    return [line for profile in distinct.values() for line in _one_model(profile)]


def _one_model(profile: Profile) -> list[Line]:
    if profile.rehearsal:
        cure = "Set MOONSHOT_API_KEY, or PURSUIT_MODEL=provider:model with that provider's key."
        found = ", ".join(f"PURSUIT_MODEL={f.provider}:{f.models[0]}" for f in detect())
        if found:
            cure = f"A local server answers: {found}. Or set MOONSHOT_API_KEY."
        text = "rehearsal: a fixed policy, no language model"
        return [Line(name="model", level="warning", text=text, cure=cure)]
    checked = check(profile)
    text = f"{profile.name} at {profile.base_url}, paid by {profile.payer}: {checked.text}"
    cure = "" if checked.ok else "Correct its address, name or key; or choose a model that calls tools."
    lines = [Line(name="model", level="ok" if checked.ok else "error", text=text, cure=cure)]
    window = checked.window or profile.window
    if window < SMALL_WINDOW:
        cure = f"Give it at least {SMALL_WINDOW} (Ollama: OLLAMA_CONTEXT_LENGTH=32768), and the profile its `window`."
        lines.append(Line(name="model window", level="warning", text=f"{window} tokens are few", cure=cure))
    if profile.prices is None:
        cure = "Set its `prices` in [profiles.<name>] of pursuit.toml, so that budgets in dollars can be kept."
        lines.append(Line(name="model prices", level="warning", text="not known", cure=cure))
    return lines


def _commands(settings: Settings) -> list[Line]:
    if settings.commands == "off":
        cure = "PURSUIT_COMMANDS=checks lets people's command checks run, =all also the sub-agents' commands."
        return [Line(name="commands", level="ok", text="off: nothing runs commands on this machine", cure=cure)]
    if settings.sandbox == "none":
        cure = "Commands run as the worker's user, with all its files. Set PURSUIT_SANDBOX=bubblewrap to contain them."
        return [Line(name="commands", level="warning", text=f"{settings.commands}, without a sandbox", cure=cure)]
    if problem := probe():
        return [Line(name="commands", level="warning", text=f"off, there is no sandbox: {problem}", cure=CURE)]
    return [Line(name="commands", level="ok", text=f"{settings.commands}, in bubblewrap")]


def _ports(settings: Settings) -> list[Line]:
    with socket.socket() as probe:
        taken = probe.connect_ex((settings.host, settings.port)) == 0 if settings.port else False
    if taken:
        cure = "If that is no Pursuit, `up` takes another port by itself; or set PURSUIT_PORT."
        return [Line(name="port", level="warning", text=f"{settings.port} is in use", cure=cure)]
    return [Line(name="port", level="ok", text=f"{settings.port} is free")]
