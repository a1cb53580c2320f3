"""The three Celery tasks. They carry ids only, never raise, and answer in a word."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from config.celery import TASKS
from config.crashpoints import crash_point
from pursuit.models import JobRef
from pursuit.state import JobKind
from worker.process import process


def _run(task: Any, goal: str, job: str) -> str:
    crash_point("message_taken")
    return process().run(JobRef(goal=goal, job=job), in_chord=bool(task.request.chord))


@shared_task(name=TASKS[JobKind.PLAN], bind=True)
def plan_round(self: Any, goal: str, job: str) -> str:
    """Plans a round and fans it out."""
    return _run(self, goal, job)


@shared_task(name=TASKS[JobKind.SUBTASK], bind=True)
def run_subtask(self: Any, goal: str, job: str) -> str:
    """Carries out one subtask with one sub-agent."""
    return _run(self, goal, job)


@shared_task(name=TASKS[JobKind.VERIFY], bind=True)
def verify_round(self: Any, goal: str, job: str) -> str:
    """Verifies a round, decides, and enqueues the next."""
    return _run(self, goal, job)
