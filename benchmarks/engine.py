"""What the benchmarks share: a bare store on a real server, and CPU seconds of processes."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pursuit.models import Brief, JobRef, Submission
from pursuit.state import JobState
from pursuit.store import Attempt, Follow, Store
from tests.servers import binaries, server
from worker.runtime import connect


@contextmanager
def redis_server() -> Any:
    with TemporaryDirectory() as folder, server(next(iter(binaries().values())), Path(folder)) as url:
        yield url


@asynccontextmanager
async def store_at(url: str) -> AsyncIterator[Store]:
    store = await Store.open(connect(url))
    yield store
    await store.close()


def own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far, from /proc (user and system; ticks of the kernel)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def redis_cpu(store: Store) -> float:
    info: dict[str, Any] = await store.redis.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def open_round(store: Store, width: int, number: int = 1, goal: str = "") -> tuple[str, list[JobRef]]:
    """A goal whose round has `width` open subtasks."""
    if not goal:
        goal, _ = await store.submit(Submission(objective="Measure the engine"))
    attempt = await take(store, JobRef.of(goal, number, "plan"))
    refs = [JobRef.of(goal, number, f"{n:03d}") for n in range(1, width + 1)]
    jobs = [(ref, Brief(title=ref.name, objective=f"look at {ref.name} of round {number}")) for ref in refs]
    await store.finish(attempt, JobState.DONE, '{"approach": "", "titles": []}', Follow(jobs=jobs))
    return goal, refs


async def take(store: Store, ref: JobRef) -> Attempt:
    attempt = await store.start(ref)
    if not isinstance(attempt, Attempt):
        raise RuntimeError(f"{ref.job}: {attempt}")
    return attempt
