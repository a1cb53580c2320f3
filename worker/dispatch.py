"""Jobs to messages. The only place that makes a chord, and nothing depends on it: the due index repeats it."""

from __future__ import annotations

from collections.abc import Sequence

from celery import chord, signature

from config.celery import TASKS, PursuitCelery, message, send
from config.crashpoints import crash_point
from pursuit.models import JobRef


def publish_round(app: PursuitCelery, refs: Sequence[JobRef]) -> None:
    """Publishes a round: its subtasks as a chord's header, its verification as the body, in one pipeline.

    To be called from a thread that runs no task, so that messages don't inherit a growing lineage.
    """
    verify = JobRef.of(refs[0].goal, refs[0].round, "verify")
    header = [_signature(app, ref) for ref in refs]
    with app.gathered():
        chord(header, app=app)(_signature(app, verify))
        crash_point("before_round_is_sent")


def publish(app: PursuitCelery, ref: JobRef) -> None:
    """Publishes one job by itself."""
    send(app, ref)


def _signature(app: PursuitCelery, ref: JobRef) -> object:
    options = message(ref)
    args = options.pop("args")
    return signature(TASKS[ref.kind], args=args, app=app, immutable=True, options=options)
