"""The offline checker: one goal or all of them held against the invariants, in the store itself."""

from __future__ import annotations

from redis.asyncio import Redis

from config.settings import Settings
from pursuit.contract import Frozen
from pursuit.store import Store
from stack.redis import private_url


class Checkup(Frozen):
    """What was found wrong with a goal, a line a finding."""

    goal: str
    status: str
    events: int
    findings: tuple[str, ...]


async def check_goals(settings: Settings, wanted: str, *, repair: bool) -> list[Checkup]:
    """The goal with this id, or every goal for "all". Raises NotFound, NoRedis and StoreUnavailable."""
    url = private_url(settings.data) if settings.redis_url is None else None
    redis = Redis.from_url(url or settings.state_url(), decode_responses=True)
    archive = settings.open_blobs().text
    store = await Store.open(redis, shards=settings.shards, timing=settings.timing(), archive=archive)
    try:
        return [await _check(store, goal, repair) for goal in await _ids(store, wanted)]
    finally:
        await store.close()


async def _ids(store: Store, wanted: str) -> list[str]:
    if wanted != "all":
        return [wanted]
    ids, cursor = [], None
    while True:
        page, cursor = await store.list_goals(limit=200, cursor=cursor)
        ids += [goal.id for goal in page]
        if cursor is None:
            return ids


async def _check(store: Store, goal: str, repair: bool) -> Checkup:
    found = await store.audit(goal, repair=repair)
    shown = await store.goal(goal)
    lines = tuple(f"{p.invariant}: {p.text}" + (" (put right)" if p.repaired else "") for p in found)
    return Checkup(goal=goal, status=shown.status, events=shown.seq, findings=lines)
