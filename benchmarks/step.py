"""CPU of a durable step inside a sub-agent, without the model call, beside one bare Redis write a step.

A step is a model's answer with a tool call and the tool's result: journaled, usage counted, event written. 300
sub-agents x 13 steps run in one event loop; CPU is that of this process and of Redis together.
"""

from __future__ import annotations

import asyncio
import json

from benchmarks.engine import open_round, own_cpu, redis_cpu, redis_server, store_at, take
from pursuit.models import Entry
from pursuit.state import JobState
from pursuit.store import Spent, Store, Wanted

WIDTH, STEPS = 300, 13
ANSWER = {"text": "Reading the next file.", "calls": [{"id": "c1", "name": "read_file", "arguments": '{"path": "a"}'}]}
RESULT = {"id": "c1", "name": "read_file", "ok": True, "text": "line of text " * 20}


async def main() -> None:
    with redis_server() as url:
        async with store_at(url) as store:
            bare = await _measure(store, _bare)
            ours = await _measure(store, _durable)
            memory = await _memory(store)
    thousand = 1000 / (WIDTH * STEPS)
    print(f"bare write a step      {bare * thousand:6.3f} s CPU per 1,000 steps")
    print(f"durable step           {ours * thousand:6.3f} s CPU per 1,000 steps   (target <= 0.5)")
    print(f"ratio                  {ours / bare:6.2f}")
    print(f"Redis memory           {memory:6.0f} bytes a step beside its payload   (target <= 2048)")


async def _measure(store: Store, work: object) -> float:
    await work(store, 20, 2)  # type: ignore[operator]
    began = own_cpu() + await redis_cpu(store)
    await work(store, WIDTH, STEPS)  # type: ignore[operator]
    return own_cpu() + await redis_cpu(store) - began


async def _bare(store: Store, width: int, steps: int) -> None:
    payload = json.dumps([ANSWER, RESULT])

    async def one(name: int) -> None:
        for _ in range(steps):
            await store.redis.rpush(f"bare:{name}", payload)

    await asyncio.gather(*(one(n) for n in range(width)))


async def _durable(store: Store, width: int, steps: int) -> None:
    _, refs = await open_round(store, width)
    attempts = [await take(store, ref) for ref in refs]

    async def one(place: int) -> None:
        attempt, index = attempts[place], 0
        for _ in range(steps):
            entries = [Entry(kind="result", body=RESULT), Entry(kind="answer", body=ANSWER)]
            await store.journal(
                attempt,
                index,
                entries,
                call=Spent(tokens_in=900, tokens_out=40),
                following=Wanted(tokens=1000),
                note="read_file",
            )
            index += len(entries)

    await asyncio.gather(*(one(n) for n in range(width)))


async def _memory(store: Store) -> float:
    """Growth of Redis over many steps, less the payload itself, while journals are still there."""
    _, refs = await open_round(store, 100)
    attempts = [await take(store, ref) for ref in refs]
    before = (await store.redis.info("memory"))["used_memory"]
    entries = [Entry(kind="result", body=RESULT), Entry(kind="answer", body=ANSWER)]
    payload = sum(len(entry.model_dump_json()) for entry in entries)
    for attempt in attempts:
        for number in range(STEPS):
            await store.journal(
                attempt, 2 * number, entries, call=Spent(tokens_in=900, tokens_out=40), following=Wanted(), note="read"
            )
    grown = (await store.redis.info("memory"))["used_memory"] - before
    for attempt in attempts:
        await store.finish(attempt, JobState.DONE, '{"outcome": "done", "answer": ""}')
    return float(grown / (100 * STEPS) - payload)
