"""The Celery app of worker processes: `celery -A worker.app worker`, or `pursuit worker`."""

from __future__ import annotations

from typing import Any

from celery.signals import setup_logging, worker_ready, worker_shutdown, worker_shutting_down

from config import logging
from config.celery import make_app
from config.settings import get_settings
from worker import tasks
from worker.process import set_process

settings = get_settings()
app = make_app(settings)
app.set_default()
process = set_process(settings, app)
__all__ = ["app", "tasks"]


@setup_logging.connect
def _log(**_: Any) -> None:
    logging.set_up(settings.log_level, as_json=settings.log_json)


@worker_ready.connect
def _start(**_: Any) -> None:
    process.start()


@worker_shutting_down.connect
def _drain(**_: Any) -> None:
    process.drain()


@worker_shutdown.connect
def _stop(**_: Any) -> None:
    process.stop()
