"""The HTTP API. Stateless: any number of it may run behind a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from api import problems
from api.guard import Guard
from api.routes import artifacts, changes, events, goals, inbox, models, rounds, system
from api.state import State
from config import logging
from config.celery import make_app as make_celery
from config.settings import Settings, get_settings
from pursuit import __version__
from pursuit.store import Store

ABOUT = "Submit a goal and walk away; watch it, step in, or read the report. Errors are problem documents (RFC 9457)."


def make_app(settings: Settings) -> FastAPI:
    """The API for these settings. It connects when it starts, and starts also while Redis is away."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        retry = Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), retries=3)
        pool = BlockingConnectionPool.from_url(
            settings.state_url(),
            max_connections=512,
            timeout=5,
            decode_responses=True,
            socket_timeout=45,
            socket_connect_timeout=2,
            retry=retry,
        )
        blobs = settings.open_blobs()
        redis = Redis(connection_pool=pool)
        state = State(
            settings=settings,
            # settled at the first request, see api/state.py
            store=Store(redis, shards=settings.shards, timing=settings.timing(), archive=blobs.text),
            blobs=blobs,
            celery=make_celery(settings),
            model=_model_name(settings),
        )
        app.state.pursuit = state
        yield
        state.closing.set()
        await state.store.close()

    app = FastAPI(title="Pursuit", version=__version__, description=ABOUT, lifespan=lifespan)
    problems.install(app)
    app.add_middleware(Guard, host=settings.host)
    for module in (goals, changes, rounds, events, artifacts, inbox, models):
        app.include_router(module.router, prefix="/v1")
    app.include_router(system.router)
    return app


def _model_name(settings: Settings) -> str:
    profile = settings.profile()
    return (
        "rehearsal (a fixed policy, no language model)" if profile.rehearsal else f"{profile.provider}:{profile.model}"
    )


def serve() -> FastAPI:
    """What uvicorn starts: the app for this process's settings."""
    settings = get_settings()
    logging.set_up(settings.log_level, as_json=settings.log_json)
    return make_app(settings)
