"""The other side of `rounds`: a bare Celery app whose chord body enqueues the next chord. Nothing is durable here."""

from __future__ import annotations

import time
from typing import Any

from celery import chord
from redis import Redis

from config.celery import make_app
from config.settings import get_settings

app = make_app(get_settings())
app.set_default()
app.conf.task_routes = {"bare.body": {"queue": "rounds"}}
redis = Redis.from_url(get_settings().state_url())


@app.task(name="bare.noop")
def noop(number: int) -> None:
    return None


@app.task(name="bare.body")
def body(left: int, width: int) -> None:
    launch(left, width)


def launch(left: int, width: int) -> Any:
    """Publishes a chord of no-ops with the house's own settings; the last body writes down the time."""
    if left == 0:
        return redis.set("bare:done", time.time())
    with app.gathered():
        return chord([noop.si(number) for number in range(width)], app=app)(body.si(left - 1, width))


def first(rounds: int, width: int) -> None:
    """Writes down the time and publishes the first chord; the start of this process isn't counted."""
    redis.set("bare:began", time.time())
    launch(rounds, width)
