"""Moves old rounds out of Redis: the whole of each into a blob, a summary in its place."""

from __future__ import annotations

import json
from collections.abc import Callable

from pursuit.models import Goal, RoundSummary
from pursuit.store.store import WHOLE_ROUNDS, Store


async def compact_rounds(store: Store, goal: Goal, put: Callable[[str], str]) -> int:
    """Compacts what is older than the last few rounds; returns how many rounds.

    `put` stores a text durably and returns its hash. May be cut anywhere and repeated: the blob comes first, and its
    name is its content's.
    """
    done = 0
    for number in range(goal.compacted + 1, goal.round - WHOLE_ROUNDS):
        whole = await store.whole_round(goal.id, number)
        record = await store.round(goal.id, number)
        blob = put(json.dumps(whole, sort_keys=True))
        done += await store.compact(goal.id, number, RoundSummary(record=record, blob=blob))
    return done
