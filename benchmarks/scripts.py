"""The longest that each script holds Redis, with 300 subtasks open in the 13th round of a goal (4,000 jobs)."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.engine import open_round, redis_server, store_at, take
from pursuit.models import Artifact, Entry, JobRef, Stragglers, Submission
from pursuit.state import JobState
from pursuit.store import Attempt, Change, Follow, Spent, Store, compact_rounds
from pursuit.store.scripts import FLAGGED, SCRIPTS

ROUNDS, WIDTH = 13, 300
DIGEST = '{"outcome": "done", "answer": "fine"}'


async def main() -> None:
    with redis_server() as url:
        async with store_at(url) as store:
            await store.redis.config_set("slowlog-log-slower-than", 0)
            await store.redis.config_set("slowlog-max-len", 100_000)
            for script in (*SCRIPTS.values(), *FLAGGED.values()):
                await store.redis.script_load(script.text)
            await store.redis.slowlog_reset()
            await _life(store)
            log: list[dict[str, Any]] = await store.redis.slowlog_get(100_000)
    names = {script.sha: name for table in (SCRIPTS, FLAGGED) for name, script in table.items()}
    worst: dict[str, list[int]] = {}
    for entry in log:
        words = entry["command"]
        text = words.decode() if isinstance(words, bytes) else str(words)
        if text.startswith("EVALSHA"):
            name = names.get(text.split()[1], "?")
            worst.setdefault(name, []).append(int(entry["duration"]))
    for name, times in sorted(worst.items()):
        times.sort()
        print(
            f"{name:8} {len(times):6} calls   median {times[len(times) // 2]:6} us   "
            f"longest {times[-1] / 1000:7.2f} ms   (target <= 5 ms)"
        )


async def _life(store: Store) -> None:
    goal = ""
    for number in range(1, ROUNDS + 1):
        goal, refs = await open_round(store, WIDTH, number, goal)
        for ref in refs:
            attempt = await take(store, ref)
            await store.journal(attempt, 0, [Entry(kind="answer", body={"text": "x" * 300})], call=Spent())
            await store.beat([attempt])
            if number < ROUNDS:
                layer = [Artifact(path=f"{ref.job}.md", sha256="f" * 64, size=1, round=number, subtask=ref.job)]
                await store.finish(attempt, JobState.DONE, DIGEST, Follow(layer=layer))
        if number < ROUNDS:
            verify = await take(store, JobRef.of(goal, number, "verify"))
            following = Follow(jobs=[(JobRef.of(goal, number + 1, "plan"), None)], round=number + 1)
            layers = await store.layers(goal)
            following.artifacts, following.merged = [file for layer in layers.values() for file in layer], list(layers)
            await store.finish(verify, JobState.DONE, "{}", following)
    await store.amend(goal, Change(note="and mind the step"))
    await store.guide(goal, "mind the gap")
    await store.audit(goal)
    await store.audit(goal, repair=True)
    await store.recover(goal, "another")
    await store.pause(goal)
    await store.resume(goal)
    refs = [JobRef.of(goal, ROUNDS, f"{n:03d}") for n in range(1, WIDTH + 1)]
    await store.sweep(refs)
    await compact_rounds(store, await store.goal(goal), lambda text: "blob")
    await store.cancel(goal)
    await _stragglers(store)


async def _stragglers(store: Store) -> None:
    """The widest cut there is: half of 300 at once."""
    late = Stragglers(quorum=0.5, factor=0.1, least_seconds=1)
    goal, _ = await store.submit(Submission(objective="Measure a cut", stragglers=late))
    _, refs = await open_round(store, WIDTH, 1, goal)
    attempts = [await take(store, ref) for ref in refs]
    for attempt in attempts[: WIDTH // 2]:
        await store.finish(attempt, JobState.DONE, DIGEST)
    await asyncio.sleep(1.2)
    while not isinstance(await store.start(JobRef.of(goal, 1, "verify")), Attempt):
        pass
    await store.accept(goal)
