"""Asks the fleet's limits before a model call and tells them how it went; who has to wait waits here, in turn."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from config.models import Profile
from pursuit.errors import PursuitError
from pursuit.store import Admission, Limits, Pace, Reply
from worker.llm.model import NotConfigured, QuotaUsedUp

#: seconds between two looks at the limits while calls wait: a quota that ends anywhere is known here that soon
LOOK = 0.5
#: seconds after which a call that waits is shown as such, and between two such signs
SHOW, SHOW_AGAIN = 1.0, 10.0

#: told how many seconds a call waits, and why
Waiting = Callable[[float, str], Awaitable[None]]


class Closed(QuotaUsedUp):
    """The account is known to have no quota: nothing was sent. `seconds` until it is asked again."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text, None)
        self.seconds = seconds


@dataclass
class _Waiter:
    goal: str
    call: str
    tokens: int
    let: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Governor:
    """One an account and worker process. One task asks on behalf of all that wait, goal by goal."""

    def __init__(self, limits: Limits, profile: Profile, *, patience: float) -> None:
        self._limits, self._account, self._name = limits, profile.account, profile.name
        known = profile.limits
        self.pace = Pace(
            requests=known.requests_per_minute or 0,
            tokens=known.tokens_per_minute or 0,
            ceiling=known.parallel,
            patience=patience,
        )
        self._queues: dict[str, deque[_Waiter]] = {}
        self._pump: asyncio.Task[None] | None = None
        #: calls in flight, and the task that shows them to be alive
        self._inside: dict[tuple[str, str], None] = {}
        self._alive: asyncio.Task[None] | None = None
        self._why, self._seconds = "window", 0.0

    async def enter(self, goal: str, call: str, tokens: int, waiting: Waiting) -> None:
        """Returns when the call may be made. Raises Closed or NotConfigured when none may."""
        await self._enter(goal, call, tokens, waiting)
        self._inside[goal, call] = None
        if self._alive is None or self._alive.done():
            self._alive = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        while self._inside:
            await asyncio.sleep(self.pace.patience / 3)
            with suppress(PursuitError):
                await self._limits.renew(self._account, list(self._inside), self.pace)

    async def _enter(self, goal: str, call: str, tokens: int, waiting: Waiting) -> None:
        if not self._queues:
            reply = await self._limits.admit(self._account, goal, call, self.pace, tokens=tokens)
            if self._may(reply):
                return
        waiter = _Waiter(goal, call, tokens)
        self._queues.setdefault(goal, deque()).append(waiter)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._ask_for_all())
        try:
            show = SHOW
            while not (await asyncio.wait({waiter.let}, timeout=show))[0]:
                await waiting(self._seconds, self._why)
                show = SHOW_AGAIN
            waiter.let.result()
            if show != SHOW:
                await waiting(0.0, "")
        except BaseException:
            if waiter.let.done() and not waiter.let.cancelled() and waiter.let.exception() is None:
                await self.leave(goal, call, "other")  # let in at the moment it was cut
            waiter.let.cancel()
            raise

    async def leave(
        self, goal: str, call: str, how: str, *, seconds: float | None = None, tokens: int = 0, text: str = ""
    ) -> float:
        """Gives the slot back. Returns for how many seconds the account is closed, 0 where Redis doesn't answer."""
        self._inside.pop((goal, call), None)
        with suppress(PursuitError):  # the slot ends by itself
            release = self._limits.release(
                self._account, goal, call, how, self.pace, seconds=seconds, tokens=tokens, text=text
            )
            return await asyncio.shield(asyncio.ensure_future(release))
        return 0.0

    def _may(self, reply: Reply) -> bool:
        if reply.admission is Admission.GO:
            return True
        if reply.admission is Admission.QUOTA:
            raise Closed(f"{self._name}: the account's quota is used up", reply.seconds)
        if reply.admission is Admission.DENIED:
            raise NotConfigured(reply.why)
        self._why, self._seconds = reply.why, reply.seconds
        return False

    async def _ask_for_all(self) -> None:
        while self._queues:
            try:
                wait = await self._ask_in_turn()
            except Exception as error:  # whatever it is, it is those who wait that must hear it
                self._fail(error)
                return
            if wait:
                await asyncio.sleep(min(LOOK, wait) * random.uniform(0.8, 1.2))

    async def _ask_in_turn(self) -> float:
        """Asks for the first of each goal. Returns how long to wait; 0 when somebody was let in."""
        least, let_in = LOOK, False
        for goal in list(self._queues):
            queue = self._queues[goal]
            while queue and queue[0].let.done():
                queue.popleft()
            if not queue:
                del self._queues[goal]
                continue
            first = queue[0]
            reply = await self._limits.admit(self._account, goal, first.call, self.pace, tokens=first.tokens)
            if self._may(reply):
                queue.popleft()
                let_in = True
                if first.let.done():
                    await self.leave(goal, first.call, "other")
                else:
                    first.let.set_result(None)
            else:
                least = min(least, reply.seconds)
                if reply.why not in ("share", "window"):
                    break  # closed for everybody
        return 0.0 if let_in else max(least, 0.02)

    def _fail(self, error: Exception) -> None:
        queues, self._queues = self._queues, {}
        for queue in queues.values():
            for waiter in queue:
                if not waiter.let.done():
                    waiter.let.set_exception(error)
