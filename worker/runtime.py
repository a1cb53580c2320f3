"""What a worker process holds: settings, the store, the model, blobs, tools, and the loop they live in."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import MasterDownError, ReadOnlyError

from config.celery import PursuitCelery
from config.models import Profile, choose
from config.settings import Settings
from pursuit.blobs import Blobs
from pursuit.models import Goal, JobRef
from pursuit.store import Store
from worker.files.workspace import Workspace
from worker.llm.client import ChatClient
from worker.llm.model import Model
from worker.llm.rehearsal import RehearsalModel
from worker.tools import Tool, Toolbox, ToolContext, standard_tools

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
    if profile.rehearsal:
        return RehearsalModel(think=settings.rehearsal_seconds)
    return ChatClient(profile, timeout=settings.model_timeout, transport=transport)


@dataclass(frozen=True)
class Runtime:
    """One a worker process; everything in it is shared by all attempts."""

    settings: Settings
    store: Store
    blobs: Blobs
    model: Model
    tools: dict[str, Tool]
    app: PursuitCelery
    #: set when the process is to end: sub-agents hand their jobs back after the current step
    draining: threading.Event = field(default_factory=threading.Event)

    @classmethod
    async def open(cls, settings: Settings, app: PursuitCelery, draining: threading.Event) -> Runtime:
        redis = connect(settings.state_url())
        blobs = Blobs(settings.blobs)
        store = await Store.open(redis, shards=settings.shards, timing=settings.timing(), archive=blobs.text)
        if store.warning:
            log.warning(store.warning)
        return cls(
            settings=settings,
            store=store,
            blobs=blobs,
            model=make_model(settings, choose(settings.model)),
            tools=standard_tools(commands=settings.commands == "all"),
            app=app,
            draining=draining,
        )

    async def close(self) -> None:
        await self.model.close()
        await self.store.close()

    def workspace(self, goal: Goal) -> Workspace:
        """The goal's workspace, ready. Raises OutsideWorkspace for an input that isn't allowed."""
        space = Workspace(self.settings.workspace(goal.id) / "work", goal.inputs, self.settings.input_roots)
        space.prepare()
        return space

    def toolbox(
        self,
        ref: JobRef,
        workspace: Workspace,
        chosen: Callable[[Tool], bool],
        write_scope: tuple[str, ...] = (),
    ) -> Toolbox:
        """The tools of one job."""
        context = ToolContext(
            ref=ref,
            workspace=workspace,
            write_scope=write_scope,
            answer_to=self._answers(ref.goal),
            fetch_private=self.settings.fetch_private,
        )
        return Toolbox({tool.name: tool for tool in self.tools.values() if chosen(tool)}, context)

    def _answers(self, goal: str) -> Callable[[str], Awaitable[str | None]]:
        async def answer_to(question: str) -> str | None:
            asked = {q.id: q for q in await self.store.questions(goal)}
            return asked[question].answer if question in asked else None

        return answer_to
