"""What a worker process holds: settings, the store, the model, blobs, tools, and the loop they live in."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import MasterDownError, ReadOnlyError

from config.celery import PursuitCelery
from config.models import REPLAY, Profile
from config.redaction import Redactor, from_environment
from config.settings import Settings
from pursuit.blobs import Blobs
from pursuit.models import Artifact, Goal, JobRef, goal_of_question
from pursuit.store import Store
from pursuit.tree import Tree
from worker.files.states import States, committed, folder_of
from worker.files.workspace import Workspace
from worker.llm.caller import Caller
from worker.llm.client import ChatClient
from worker.llm.governor import Governor
from worker.llm.model import Model, NoModel, NotConfigured
from worker.llm.rehearsal import RehearsalModel
from worker.tools import Tool, Toolbox, ToolContext, ToolError, standard_tools
from worker.tools.mcp import Servers, places
from worker.tools.registry import MOST, Policy, stricter
from worker.tools.sandbox import Limits, Sandbox

log = structlog.get_logger(__name__)


def connect(url: str, *, connections: int = 32, retries: int = 100, timeout: float = 10) -> Redis:
    """A client that waits out absences of Redis: scripts are safe to repeat.

    By default it waits longer than any lease: what an attempt has paid for isn't given up while it may be recorded.
    """
    retry = Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), retries=retries)
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=60,
        decode_responses=True,
        socket_timeout=timeout,
        retry=retry,
        retry_on_error=[ReadOnlyError, MasterDownError],  # after a failover, until the address leads to the new master
    )
    return Redis(connection_pool=pool)


def make_model(settings: Settings, profile: Profile, transport: httpx.AsyncBaseTransport | None = None) -> Model:
    """The client for a profile; the rehearsal model is one like any other."""
    if profile.provider == REPLAY:
        return NoModel()
    if profile.rehearsal:
        return RehearsalModel(think=settings.rehearsal_seconds)
    return ChatClient(profile, timeout=settings.model_timeout, stall=settings.model_stall, transport=transport)


class Callers:
    """The models of a process by name; goals that name the same profile share one client and one governor."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._callers: dict[str, Caller] = {}

    def of(self, name: str, role: str) -> Caller:
        """Who calls this model. Raises NotConfigured where it names none."""
        try:
            profile = self._settings.profile(name, role)
        except ValueError as error:
            raise NotConfigured(str(error)) from error
        key = f"{profile.account} {profile.model}"
        if key not in self._callers:
            governor = None
            if not profile.rehearsal:
                governor = Governor(self._store.limits, profile, patience=self._settings.lease)
            self._callers[key] = Caller(make_model(self._settings, profile), profile, governor)
        return self._callers[key]

    async def close(self) -> None:
        for caller in self._callers.values():
            await caller.close()


def make_sandbox(settings: Settings) -> Sandbox | None:
    """Where commands run; None when they don't, because of the settings or because there is no sandbox."""
    limits = Limits(memory_mb=settings.command_memory_mb, cpu_seconds=settings.command_cpu_seconds)
    sandbox = Sandbox(settings.sandbox, limits)
    return sandbox if settings.commands != "off" and sandbox.available else None


def make_redactor(settings: Settings) -> Redactor:
    """Knows the secrets of the environment, of the settings and of the profiles."""
    urls = [url.get_secret_value() for url in (settings.redis_url, settings.broker_url) if url]
    passwords = [word for url in urls if (word := urlsplit(url).password)]
    variables = [*settings.secrets, *(name for server in settings.mcp_servers.values() for name in places(server))]
    named = [os.environ.get(name, "") for name in variables]
    keys = [os.environ.get(p.key_variable, "") for p in settings.profiles.values() if p.key_variable]
    return from_environment(extra=[*passwords, *named, *keys])


@dataclass(frozen=True)
class Runtime:
    """One a worker process; everything in it is shared by all attempts."""

    settings: Settings
    store: Store
    blobs: Blobs
    states: States
    models: Callers
    tools: dict[str, Tool]
    app: PursuitCelery
    redactor: Redactor
    mcp: Servers
    sandbox: Sandbox | None
    #: set when the process is to end: sub-agents hand their jobs back after the current step
    draining: threading.Event = field(default_factory=threading.Event)

    @classmethod
    async def open(cls, settings: Settings, app: PursuitCelery, draining: threading.Event) -> Runtime:
        redis = connect(settings.state_url())
        blobs = settings.open_blobs()
        store = await Store.open(redis, shards=settings.shards, timing=settings.timing(), archive=blobs.text)
        if store.warning:
            log.warning(store.warning)
        sandbox = await asyncio.to_thread(make_sandbox, settings)
        return cls(
            settings=settings,
            store=store,
            blobs=blobs,
            states=States(store, blobs),
            models=Callers(settings, store),
            tools=standard_tools(
                commands=sandbox is not None and settings.commands == "all",
                more=settings.tools,
                search=settings.search,
            ),
            app=app,
            redactor=make_redactor(settings),
            mcp=Servers(settings.mcp_servers),
            sandbox=sandbox,
            draining=draining,
        )

    async def close(self) -> None:
        await self.models.close()
        await self.mcp.close()
        await self.store.close()

    async def workspace(self, goal: Goal, *, begun: Sequence[Artifact] | None = None) -> Workspace:
        """The goal's committed files, to be read. Raises OutsideWorkspace for an input that isn't allowed."""
        if begun is None:
            return await self.layered(goal, "")
        return await self.workspace_of(goal, await committed(self.store, self.blobs, goal, begun))

    async def layered(self, goal: Goal, layer: str) -> Workspace:
        """The goal's committed files, to be written on top of in a layer of this name; without one, to be read."""
        tree, root = await self.states.of(goal, self._home(goal) / "states")
        return self._workspace(goal, tree, root, layer)

    async def workspace_of(self, goal: Goal, tree: Tree) -> Workspace:
        """These files, to be read."""
        root = await asyncio.to_thread(folder_of, tree, self._home(goal) / "states", self.blobs)
        return self._workspace(goal, tree, root, "")

    def _home(self, goal: Goal) -> Path:
        return self.settings.workspace(goal.id)

    def _workspace(self, goal: Goal, tree: Tree, root: Path, layer: str) -> Workspace:
        space = Workspace(
            root,
            goal.inputs,
            self.settings.input_roots,
            tree=tree,
            layer=self._home(goal) / "layers" / layer if layer else None,
            blobs=self.blobs,
            boundaries=goal.contract.boundaries,
        )
        space.prepare()
        return space

    async def tools_for(self, goal: Goal) -> dict[str, Tool]:
        """All tools that the goal's jobs may choose from. Raises NotConfigured, Unreachable for its MCP servers."""
        more = await self.mcp.tools(goal.policy.mcp)
        return {**self.tools, **{tool.name: tool for tool in more}}

    def toolbox(
        self,
        goal: Goal,
        tools: dict[str, Tool],
        ref: JobRef,
        workspace: Workspace,
        chosen: Callable[[Tool], bool],
        write_scope: tuple[str, ...] = (),
        *,
        window: int = MOST,
    ) -> Toolbox:
        """The tools of one job, under the goal's policy; no result takes more than an eighth of the model's window."""
        context = ToolContext(
            ref=ref,
            workspace=workspace,
            write_scope=write_scope,
            answer_to=self._answer_to,
            always=lambda: self._always(goal.id),
            fetch_private=self.settings.fetch_private,
            network_allow=tuple(goal.policy.network_allow),
            secret=self._secret,
            sandbox=self.sandbox,
            polling=frozenset(goal.policy.polling),
            keep=self.blobs.put_text,
            kept=self.blobs.text,
            digest=lambda subtask: self._digest(goal.id, subtask),
        )
        mine = {name: tool for name, tool in tools.items() if chosen(tool)}
        return Toolbox(mine, context, policy=self.policy(goal), most=min(MOST, max(4_000, window // 2)))

    def check_prices(self, goal: Goal) -> None:
        """A cap in dollars can only be kept where prices are known. Raises NotConfigured."""
        if goal.budget.usd is None:
            return
        for role in ("planner", "subagent", "verifier"):
            profile = self.models.of(getattr(goal.models, role), role).profile
            if profile.prices is None:
                raise NotConfigured(
                    f"the goal has a budget in dollars, and no price of {profile.name} is known: set `prices` of its "
                    "profile in pursuit.toml, or limit tokens instead"
                )

    def policy(self, goal: Goal) -> dict[str, Policy]:
        """By tool, the stricter of what the server and the goal say."""
        said: dict[str, Policy] = dict(self.settings.tool_policy)
        for name, wish in goal.policy.tools.items():
            said[name] = stricter(said.get(name, "allow"), wish)
        return said

    def _secret(self, name: str) -> str:
        if name not in self.settings.secrets or name not in os.environ:
            known = ", ".join(self.settings.secrets) or "none"
            raise ToolError(f"there is no secret named {name!r}; there are: {known}")
        return os.environ[name]

    async def _answer_to(self, question: str) -> str | None:
        asked = {q.id: q for q in await self.store.questions(goal_of_question(question))}
        return asked[question].answer if question in asked else None

    async def _digest(self, goal: str, subtask: str) -> str | None:
        results = await self.store.results(goal, JobRef(goal=goal, job=subtask).round)
        return results.get(subtask)

    async def _always(self, goal: str) -> set[str]:
        """The tools that a person has allowed for good in this goal."""
        answered = [q for q in await self.store.questions(goal) if (q.answer or "").strip().lower() == "always"]
        return {q.id.partition("-")[2] for q in answered}
