"""The governor's state: what an account that pays for model calls allows just now, for the whole fleet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from redis.asyncio import Redis

from pursuit.contract import Frozen
from pursuit.store import keys
from pursuit.store.reading import reach
from pursuit.store.scripts import Clock, Scripts

#: calls in flight of an account that nobody has called yet; the window grows by one with each success
FIRST_WINDOW = 16


class Admission(StrEnum):
    """Whether a call may begin."""

    GO = "GO"
    WAIT = "WAIT"
    QUOTA = "QUOTA"
    DENIED = "DENIED"


class Reply(Frozen):
    """An answer of the governor. `seconds` to wait, and why."""

    admission: Admission
    seconds: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Pace:
    """What is known beforehand of an account; 0: no limit known."""

    requests: int = 0
    tokens: int = 0
    ceiling: int = 300
    #: seconds after which a call without a word counts as lost
    patience: float = 30.0


class AccountState(Frozen):
    """An account as people are shown it. Times are seconds from now."""

    account: str
    in_flight: int
    window: float
    closed_seconds: float = 0.0
    closed_why: str = ""
    quota_seconds: float = 0.0
    denied: str = ""


class Limits:
    """One a process. All calls of an account, of all goals and workers, ask here first."""

    def __init__(self, redis: Redis, clock: Clock | None = None, *, flags: bool = False) -> None:
        self._redis = redis
        self._scripts = Scripts(redis, clock, flags=flags)

    async def admit(self, account: str, goal: str, call: str, pace: Pace, *, tokens: int = 0) -> Reply:
        """Asks for a slot for one call. Raises StoreUnavailable."""
        reply = await self._scripts.run(
            "admit",
            keys.limit(account),
            [
                f"{goal} {call}",
                int(pace.patience * 1000),
                tokens,
                pace.requests,
                pace.tokens,
                pace.ceiling,
                FIRST_WINDOW,
            ],
        )
        admission = Admission(reply[0])
        if admission is Admission.DENIED:
            return Reply(admission=admission, why=reply[1])
        seconds = int(reply[1]) / 1000 if len(reply) > 1 else 0.0
        return Reply(admission=admission, seconds=seconds, why=reply[2] if len(reply) > 2 else "")

    async def release(
        self,
        account: str,
        goal: str,
        call: str,
        how: str,
        pace: Pace,
        *,
        seconds: float | None = None,
        tokens: int = 0,
        text: str = "",
    ) -> float:
        """Gives the slot back and notes how the call went. Returns for how many seconds the account is closed."""
        span = "" if seconds is None else int(seconds * 1000)
        args = [f"{goal} {call}", how, span, tokens, pace.ceiling, FIRST_WINDOW, text[:500]]
        reply = await self._scripts.run("release", keys.limit(account), args)
        return int(reply[1]) / 1000

    async def renew(self, account: str, calls: Sequence[tuple[str, str]], pace: Pace) -> None:
        """Shows that these calls, each a goal and its name there, are alive."""
        names = [f"{goal} {call}" for goal, call in calls]
        await self._scripts.run("renew", keys.limit(account), [int(pace.patience * 1000), json.dumps(names)])

    async def reopen(self, account: str) -> None:
        """A person says that the account pays again: the next call finds out."""
        fields = ("quota_until", "quota_tries", "denied_until", "denied", "closed_until", "failures")
        await reach(self._redis.hdel(keys.limit(account)[0], *fields))

    async def state(self, account: str) -> AccountState:
        """The account as it stands."""
        hash_key, calls = keys.limit(account)
        fields = await reach(self._redis.hgetall(hash_key))
        seconds, micros = await reach(self._redis.time())
        now = seconds * 1000 + micros // 1000

        def left(field: str) -> float:
            return max(0.0, (float(fields.get(field, 0)) - float(now)) / 1000)

        return AccountState(
            account=account,
            in_flight=await reach(self._redis.zcount(calls, now, "+inf")),
            window=float(fields.get("window", FIRST_WINDOW)),
            closed_seconds=left("closed_until"),
            closed_why=fields.get("closed_why", "") if left("closed_until") else "",
            quota_seconds=left("quota_until"),
            denied=fields.get("denied", "") if left("denied_until") else "",
        )
