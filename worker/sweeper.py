"""The due index: whatever is overdue is published again. Runs in every worker process."""

from __future__ import annotations

import asyncio
import random

import structlog

from config.celery import QUEUES, PursuitCelery
from config.crashpoints import crash_point
from pursuit.errors import NotFound
from pursuit.models import JobRef
from pursuit.store import Store
from worker.dispatch import publish

log = structlog.get_logger(__name__)

BATCH = 100
#: at most this many batches of a shard in one look: whoever sweeps has heartbeats to send as well
BATCHES = 5
#: messages in a queue from which on it counts as deep
DEEP = 1000


async def sweep(store: Store, app: PursuitCelery, name: str) -> int:
    """One look at all shards that nobody else is sweeping. Returns how many jobs were published."""
    published = 0
    for shard in range(store.keys.shards):
        if not await store.lead(shard, name, 3 * store.timing.sweep):
            continue
        crash_point("after_lead")
        await _note_new_server(store, shard)
        for _ in range(BATCHES):
            if not (due := await store.due(shard, limit=BATCH)):
                break
            swept = await store.sweep(due)
            if swept.publish:
                crash_point("after_sweep_before_publish")
            await asyncio.to_thread(_publish_all, app, swept.publish)
            published += len(swept.publish)
            if len(due) < BATCH:
                break
        for goal in await store.expired(shard):
            await store.forget(goal)
    return published


async def audit(store: Store) -> int:
    """Holds every goal that goes on against the invariants and puts right what is safe to; returns how many findings.

    None is expected, ever: each is logged as an error and recorded in its goal's log.
    """
    findings = 0
    for shard in range(store.keys.shards):
        for goal in await store.unfinished(shard):
            try:
                found = await store.audit(goal, repair=True)
            except NotFound:
                continue
            for problem in found:
                log.error("an invariant doesn't hold", goal=goal, invariant=problem.invariant, text=problem.text)
            findings += len(found)
    return findings


async def _note_new_server(store: Store, shard: int) -> None:
    """Redis started anew, or another took over: its last moments may be missing, so every goal's viewers read anew.

    The shard remembers the server once all its goals know, so that it may die in between.
    """
    server = await store.server_id()
    known = await store.server_of(shard)
    if not server or server == known:
        return
    if known:
        for goal in await store.unfinished(shard):
            await store.recover(goal, server)
    await store.remember_server(shard, server)


def _publish_all(app: PursuitCelery, refs: tuple[JobRef, ...]) -> None:
    """Copies for a deep queue are most likely needless: the deeper it is, the fewer are sent now; the rest later."""
    if not refs:
        return
    waiting = {queue: app.backlog(queue) for queue in {QUEUES[ref.kind] for ref in refs}}
    with app.gathered():
        for ref in refs:
            if random.random() * waiting[QUEUES[ref.kind]] < DEEP:
                publish(app, ref)
