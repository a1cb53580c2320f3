"""The only code that speaks to Redis about goals: keys, scripts, one method per script, and reading."""

from pursuit.store.compaction import compact_rounds
from pursuit.store.replies import Attempt, Beat, Command, Fence, Finished, Start, Swept
from pursuit.store.store import Follow, Store, Timing

__all__ = [
    "Attempt",
    "Beat",
    "Command",
    "Fence",
    "Finished",
    "Follow",
    "Start",
    "Store",
    "Swept",
    "Timing",
    "compact_rounds",
]
