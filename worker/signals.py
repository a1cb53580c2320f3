"""What people want of the job that a task works on, as the caretaker hears it; heard also in the middle of a call."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar


class Signals:
    """One an attempt. Told in the loop that the attempt runs in."""

    def __init__(self) -> None:
        self.wish = "run"
        #: pieces of guidance that the goal has
        self.guided = 0
        self.changed = asyncio.Event()

    def tell(self, wish: str, guided: int) -> None:
        if (wish, guided) != (self.wish, self.guided):
            self.wish, self.guided = wish, guided
            self.changed.set()


_signals: ContextVar[Signals | None] = ContextVar("signals", default=None)


def signals() -> Signals:
    """This task's; outside of an attempt, some that say nothing."""
    return _signals.get() or Signals()


def set_signals(of: Signals) -> None:
    _signals.set(of)
