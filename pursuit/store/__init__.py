"""The only code that speaks to Redis about goals: keys, scripts, one method per script, and reading."""

from pursuit.store.changes import Change
from pursuit.store.compaction import compact_rounds
from pursuit.store.limits import AccountState, Admission, Limits, Pace, Reply
from pursuit.store.replies import HELD, Attempt, Beat, Command, Fence, Finished, Parent, Start, Swept
from pursuit.store.store import Follow, Spent, Store, Timing, Wanted

__all__ = [
    "HELD",
    "AccountState",
    "Admission",
    "Attempt",
    "Beat",
    "Change",
    "Command",
    "Fence",
    "Finished",
    "Follow",
    "Limits",
    "Pace",
    "Parent",
    "Reply",
    "Spent",
    "Start",
    "Store",
    "Swept",
    "Timing",
    "Wanted",
    "compact_rounds",
]
