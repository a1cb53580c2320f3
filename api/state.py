"""What the API holds, and how routes get at it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

import structlog
from fastapi import Depends, Request

from config.celery import PursuitCelery, send
from config.settings import Settings
from pursuit.blobs import Blobs
from pursuit.models import JobRef
from pursuit.store import Store

log = structlog.get_logger(__name__)


@dataclass
class State:
    """One an API process."""

    settings: Settings
    store: Store
    blobs: Blobs
    celery: PursuitCelery
    model: str
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    settled: bool = False

    async def publish(self, ref: JobRef) -> None:
        """Sends a job on its way. A failure costs a second: the job is in the due index already."""
        try:
            await asyncio.to_thread(send, self.celery, ref)
        except Exception as error:  # kombu, redis-py or the socket; none of it may fail a saved goal
            log.warning("publishing failed; a sweeper repeats it", job=ref.job, error=str(error))


async def state_of(request: Request) -> State:
    """The API's state, its store settled: how many shards there are stands in Redis, which may have been away."""
    state: State = request.app.state.pursuit
    if not state.settled:
        settings = state.settings
        state.store = await Store.open(
            state.store.redis, shards=settings.shards, timing=settings.timing(), archive=state.blobs.text
        )
        if state.store.warning:
            log.warning(state.store.warning)
        state.settled = True
    return state


Here = Annotated[State, Depends(state_of)]
