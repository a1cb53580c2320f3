"""Celery as the transport: the app, its queues and its task names. Why each setting: docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from kombu import Connection, Queue
from kombu.transport.redis import Transport
from redis.exceptions import MasterDownError, OutOfMemoryError, ReadOnlyError

from config.settings import Settings
from pursuit.models import JobRef
from pursuit.state import JobKind

# A worker that meets a replica during a failover, or a Redis without memory, has to wait and try again like one that
# meets no Redis. kombu (5.7) takes those answers for errors of the program, and its worker ends itself.
Transport.connection_errors += (ReadOnlyError, MasterDownError, OutOfMemoryError)

#: what a message asks for, by the job's kind
TASKS = {
    JobKind.PLAN: "pursuit.plan_round",
    JobKind.SUBTASK: "pursuit.run_subtask",
    JobKind.VERIFY: "pursuit.verify_round",
}
#: plans and verifications have their own queue, so that 300 sub-agents can't starve them
QUEUES = {JobKind.PLAN: "rounds", JobKind.SUBTASK: "subtasks", JobKind.VERIFY: "rounds"}


class Persistent(Connection):  # type: ignore[misc]
    """A connection that comes back soon: Celery's worker would wait for up to 30 s, and has no setting for it."""

    def ensure_connection(self, *args: Any, **options: Any) -> Any:
        soon = {"interval_start": 0.2, "interval_step": 0.4, "interval_max": 2}
        return super().ensure_connection(*args, **{**soon, **options})


class Wire(AMQP):  # type: ignore[misc]
    """Celery's messaging over such connections."""

    Connection = Persistent


class PursuitCelery(Celery):  # type: ignore[misc]
    """Celery whose publishing can be gathered into one pipeline, also from inside a chord.

    `chord.apply_async` takes a producer but doesn't hand it on to its header (celery/canvas.py, 5.7), so a
    batch has to come in by the app's own `producer_or_acquire`.
    """

    amqp_cls = "config.celery:Wire"
    _gathering = local()

    def producer_or_acquire(self, producer: Any = None) -> Any:
        return super().producer_or_acquire(producer or getattr(self._gathering, "producer", None))

    def backlog(self, queue: str) -> int:
        """How many messages wait in a queue. Raises what kombu and redis-py raise."""
        with self.connection_or_acquire() as connection:
            try:
                return int(connection.default_channel.queue_declare(queue, passive=True).message_count)
            except connection.channel_errors:
                return 0  # Redis has no list for a queue that is empty

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """What this thread publishes inside is sent in one go at the end; nothing is, if an error is raised."""
        with self.producer_pool.acquire(block=True) as producer, producer.batch():
            self._gathering.producer = producer
            try:
                yield
            finally:
                self._gathering.producer = None


def make_app(settings: Settings) -> PursuitCelery:
    """A Celery app for these settings. Making one connects to nothing."""
    app = PursuitCelery("pursuit", broker=settings.transport_url(), backend=settings.transport_url())
    app.conf.update(
        task_queues=[Queue("rounds"), Queue("subtasks")],
        task_default_queue="subtasks",
        task_routes={TASKS[kind]: {"queue": queue} for kind, queue in QUEUES.items()},
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        task_track_started=False,
        task_store_errors_even_if_ignored=False,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        task_send_sent_event=True,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        result_backend_thread_safe=True,
        result_expires=3600,
        result_chord_expires=3600,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"max_retries": None, "interval_start": 0, "interval_max": 1},
        broker_pool_limit=10,
        enable_utc=True,
    )
    return app


def message(ref: JobRef) -> dict[str, Any]:
    """What a message for this job is sent with: ids only, and words that read well in Flower."""
    words = f"goal={ref.goal} round={ref.round}"
    if ref.kind is JobKind.SUBTASK:
        words += f" subtask={ref.name}"
    return {
        "args": (ref.goal, ref.job),
        "argsrepr": words,
        "kwargsrepr": "",
        "queue": QUEUES[ref.kind],
    }


def send(app: Celery, ref: JobRef) -> None:
    """Publishes one job by its task's name; needs no task code, so the API can."""
    app.send_task(TASKS[ref.kind], ignore_result=True, retry=False, **message(ref))
