"""The governor's contract: one window, one pace, one breaker for all who pay with an account."""

from __future__ import annotations

import pytest

from pursuit.store import Admission, Pace, Store
from tests.store.conftest import Clock

GO, WAIT, QUOTA, DENIED = Admission.GO, Admission.WAIT, Admission.QUOTA, Admission.DENIED
PACE = Pace(ceiling=100)


class Account:
    """An account under test; each call has a name of its own."""

    def __init__(self, store: Store, pace: Pace = PACE) -> None:
        self.limits, self.pace, self.number = store.limits, pace, 0

    async def ask(self, goal: str = "goal_a", tokens: int = 0, call: str = "") -> tuple[Admission, str]:
        self.number += 1
        self.last = call or f"c{self.number}"
        reply = await self.limits.admit("acct", goal, self.last, self.pace, tokens=tokens)
        self.seconds = reply.seconds
        return reply.admission, reply.why

    async def enter(self, count: int, goal: str = "goal_a") -> list[str]:
        """As many calls as get in, up to `count`."""
        inside = []
        for _ in range(count):
            if (await self.ask(goal))[0] is not GO:
                break
            inside.append(self.last)
        return inside

    async def end(self, call: str, how: str = "ok", goal: str = "goal_a", seconds: float | None = None) -> float:
        return await self.limits.release("acct", goal, call, how, self.pace, seconds=seconds, text="no such key")


@pytest.fixture
def account(store: Store) -> Account:
    return Account(store)


async def test_the_window_grows_with_success_and_shrinks_once_for_many_refusals(account: Account, clock: Clock) -> None:
    inside = await account.enter(200)
    assert len(inside) == 16
    assert (await account.ask()) == (WAIT, "window")
    for call in inside:
        await account.end(call)
    grown = await account.enter(200)
    assert 20 <= len(grown) <= 32, "it grows as long as it is used"
    for call in grown:
        await account.end(call, "limited", seconds=1)
    clock.forward(1.1)
    shrunk = await account.enter(200)
    assert len(shrunk) == int(len(grown) * 0.7), "thirty refusals at once are one"
    for call in shrunk:
        await account.end(call)
    assert len(await account.enter(200)) <= len(shrunk) + 2, "and from then on it grows slowly"


async def test_retry_after_holds_for_everybody(account: Account, clock: Clock) -> None:
    (first,) = await account.enter(1)
    assert await account.end(first, "limited", seconds=30) == 30
    clock.forward(29)
    assert await account.ask("goal_b") == (WAIT, "rate")
    assert 0.5 < account.seconds <= 1
    clock.forward(1.5)
    assert (await account.ask("goal_b"))[0] is GO


async def test_refusals_without_a_time_wait_longer_each_time(account: Account, clock: Clock) -> None:
    waits = []
    for _ in range(9):
        (call,) = await account.enter(1)
        waits.append(await account.end(call, "limited"))
        clock.forward(waits[-1] + 0.01)
    assert waits == sorted(waits) and waits[0] == 1 and waits[-1] == 60


@pytest.mark.parametrize("most", [7, 60, 600])
async def test_no_minute_sees_more_requests_than_allowed(store: Store, clock: Clock, most: int) -> None:
    account, times = Account(store, Pace(requests=most, ceiling=5_000)), []
    for _ in range(int(180 / 0.25)):
        while (await account.ask())[0] is GO:
            times.append(clock.now)
            await account.end(account.last)
        clock.forward(0.25)
    fullest = max(sum(begin <= t < begin + 60_000 for t in times) for begin in times)
    assert 0.7 * most <= fullest <= most


async def test_tokens_are_paced_and_what_was_announced_wrongly_is_made_good(store: Store, clock: Clock) -> None:
    account = Account(store, Pace(tokens=10_000, ceiling=100))
    assert (await account.ask(tokens=1_000))[0] is GO
    assert await account.ask(tokens=1_000) == (WAIT, "pace")
    await store.limits.release("acct", "goal_a", "c1", "ok", account.pace, tokens=2_000)  # it took three thousand
    clock.forward(13)
    assert (await account.ask(tokens=1_000))[0] is WAIT
    clock.forward(10)
    assert (await account.ask(tokens=1_000))[0] is GO


async def test_a_small_goal_is_not_starved_by_a_wide_one(account: Account) -> None:
    inside = await account.enter(200, "goal_wide")
    assert await account.ask("goal_small") == (WAIT, "window")
    await account.end(inside[0], "other", "goal_wide")
    assert await account.ask("goal_wide") == (WAIT, "share"), "who waits with fewer calls goes first"
    assert (await account.ask("goal_small"))[0] is GO
    await account.end(inside[1], "other", "goal_wide")
    assert (await account.ask("goal_wide"))[0] is GO, "nobody else waits any more"


async def test_who_no_longer_waits_holds_nobody_up(account: Account, clock: Clock) -> None:
    inside = await account.enter(200, "goal_wide")
    await account.ask("goal_dead")
    await account.end(inside[0], "other", "goal_wide")
    assert await account.ask("goal_wide") == (WAIT, "share")
    clock.forward(2.1)
    assert (await account.ask("goal_wide"))[0] is GO


async def test_an_outage_opens_the_breaker_and_one_call_finds_out_when_it_is_over(
    account: Account, clock: Clock
) -> None:
    for _ in range(10):
        (call,) = await account.enter(1)
        wait = await account.end(call, "failed")
    assert wait == 1
    assert await account.ask("goal_b") == (WAIT, "outage")
    clock.forward(1.1)
    (probe,) = await account.enter(5)
    assert await account.ask("goal_b") == (WAIT, "probe")
    assert await account.end(probe, "failed") == 2, "it waits longer each time"
    clock.forward(2.1)
    (probe,) = await account.enter(5)
    await account.end(probe)
    assert len(await account.enter(5)) == 5


async def test_a_used_up_quota_stops_all_until_one_call_has_found_it_refilled(account: Account, clock: Clock) -> None:
    first, second = await account.enter(2)
    await account.end(first, "quota", seconds=3600)
    admission, _ = await account.ask("goal_b")
    assert admission is QUOTA and 3600 <= account.seconds <= 3602
    await account.end(second)  # in flight when it ran out: it was the last to be paid
    clock.forward(1)
    assert (await account.ask("goal_b"))[0] is GO, "a success shows that there is quota"
    await account.end(account.last, "quota", "goal_b", seconds=3600)
    clock.forward(3602)
    assert (await account.ask("goal_a"))[0] is GO
    assert await account.ask("goal_b") == (WAIT, "probe")


async def test_a_quota_without_a_reset_time_is_asked_for_less_and_less_often(account: Account, clock: Clock) -> None:
    waits = []
    for _ in range(6):
        (call,) = await account.enter(1)
        waits.append(await account.end(call, "quota"))
        clock.forward(waits[-1] + 1)
    assert waits == [300, 600, 1200, 2400, 3600, 3600]


async def test_a_refused_key_stops_all_at_once_and_a_person_reopens_it(account: Account, clock: Clock) -> None:
    (call,) = await account.enter(1)
    await account.end(call, "denied")
    assert await account.ask("goal_b") == (DENIED, "no such key")
    await account.limits.reopen("acct")
    assert (await account.ask("goal_b"))[0] is GO


async def test_calls_of_dead_workers_give_their_slots_back(account: Account, clock: Clock) -> None:
    inside = await account.enter(200)
    assert (await account.ask())[0] is WAIT
    clock.forward(account.pace.patience + 1)
    assert len(await account.enter(200)) == len(inside)
    await account.end(inside[0])  # it had lived after all: counted as lost, not twice
    assert (await account.limits.state("acct")).window == 16


async def test_calls_that_are_renewed_keep_their_slots(account: Account, clock: Clock) -> None:
    inside = await account.enter(200)
    for _ in range(5):
        clock.forward(account.pace.patience / 3)
        await account.limits.renew("acct", [("goal_a", call) for call in inside[:10]], account.pace)
    assert len(await account.enter(200)) == len(inside) - 10


async def test_a_dead_probe_holds_nobody_up(account: Account, clock: Clock) -> None:
    (call,) = await account.enter(1)
    await account.end(call, "quota", seconds=10)
    clock.forward(11.1)
    assert (await account.ask())[0] is GO
    assert (await account.ask())[1] == "probe"
    clock.forward(account.pace.patience + 1)
    assert (await account.ask())[0] is GO


async def test_the_same_call_is_let_in_once_and_ends_once(account: Account) -> None:
    assert (await account.ask(call="same"))[0] is GO
    assert (await account.ask(call="same"))[0] is GO
    await account.end("same", "failed")
    await account.end("same", "failed")
    assert len(await account.enter(200)) == 16


async def test_an_account_nobody_calls_any_more_leaves_nothing(account: Account, store: Store) -> None:
    await account.enter(1)
    await account.ask("goal_b")
    keys = [key async for key in store.redis.scan_iter("pursuit:limit:*")]
    assert keys
    for key in keys:
        assert await store.redis.ttl(key) > 0, key
