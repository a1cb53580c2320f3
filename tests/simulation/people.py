"""People: they submit, pause, resume, guide, answer and cancel at random times, and ask until they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pursuit.errors import PursuitError, StoreUnavailable
from pursuit.models import AddBudget, Budget, JobRef, Stragglers, Submission
from pursuit.state import FINAL, Status
from pursuit.store import Change, Store
from tests.simulation.oracle import Violation
from tests.simulation.weather import CALM

if TYPE_CHECKING:
    from tests.simulation.world import World


@dataclass
class Promise:
    """What people were told."""

    cancelled: set[str] = field(default_factory=set)
    submitted: set[str] = field(default_factory=set)

    def copy(self) -> Promise:
        return Promise(set(self.cancelled), set(self.submitted))


class People:
    """Everybody who uses the API of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.promise = Promise()

    async def submit(self, number: int) -> None:
        goal = f"goal_{self._world.seed:09d}{number:02d}"
        budget = Budget(rounds=self._world.rng.choice((2, 6, 20)), steps=self._world.rng.choice((30, 4000)))
        late = Stragglers()
        if self._world.rng.random() < 0.4:
            then: Any = self._world.rng.choice(("cut", "hedge"))
            late = Stragglers(quorum=0.5, factor=0.5, least_seconds=self._world.rng.choice((1, 10, 60)), then=then)
        wish = Submission(objective=f"Goal {number} of seed {self._world.seed}", budget=budget, stragglers=late)
        for _ in range(50):
            try:
                await self.asked(lambda s: s.submit(wish, key=f"key-{number}", goal=goal))
            except PursuitError:
                await asyncio.sleep(1)
                continue
            self._world.goals.append(goal)
            self.promise.submitted.add(goal)
            self._world.publish(self._world.api.app, JobRef.of(goal, 1, "plan"))
            return

    async def asked(self, wish: Callable[[Store], Any]) -> Any:
        """A request to the API: it may die on the way, and then the person gets no answer and asks again."""
        for _ in range(20):
            answer = asyncio.ensure_future(wish(self._world.api.store))
            done, _ = await asyncio.wait([answer], timeout=30)
            if not done:
                answer.cancel()
            elif not isinstance(answer.exception(), StoreUnavailable):
                return answer.result()
            else:
                await asyncio.sleep(5)
        raise StoreUnavailable("no answer")

    async def meddle(self) -> None:
        """People at random times: each command may be sent again under its key until an answer comes."""
        rng = self._world.rng
        number = 0
        cancels, pause = rng.random() < 0.3, rng.choice((5, 20, 60))
        while self._world.loop.time() < self._world.weather.storm and self._world.weather is not CALM:
            await asyncio.sleep(rng.expovariate(1 / pause))
            if not self._world.goals:
                continue
            goal, number = rng.choice(self._world.goals), number + 1
            verbs = ["pause", "resume", "resume", "after_round", "answer", "answer", "guide", "amend"]
            verb = rng.choice([*verbs, *(["cancel", "accept"] if cancels else [])])
            try:
                await self.act(goal, verb, f"{verb}-{number}")
            except PursuitError as error:
                self._world.oracle.count(f"refused {type(error).__name__}")

    async def act(self, goal: str, verb: str, key: str) -> None:
        match verb:
            case "pause":
                await self.asked(lambda s: s.pause(goal, key=key))
            case "after_round":
                await self.asked(lambda s: s.pause(goal, mode="after_round", key=key))
            case "resume":
                await self.asked(lambda s: s.resume(goal, add=AddBudget(rounds=1, steps=10), key=key))
            case "guide":
                await self.asked(lambda s: s.guide(goal, f"mind {key}", key=key))
            case "amend":
                await self.asked(lambda s: s.amend(goal, Change(note=f"mind {key}"), key=key))
            case "accept":
                await self.asked(lambda s: s.accept(goal, key=key))
            case "cancel":
                await self.asked(lambda s: s.cancel(goal, key=key))
                self.promise.cancelled.add(goal)
            case "answer":
                for question in await self.asked(lambda s: s.inbox()):
                    ref = await self.asked(lambda s, q=question: s.answer(q.goal, q.id, "yes"))
                    self._world.publish(self._world.api.app, ref)

    async def settle(self) -> None:
        """The faults have stopped: every goal must come to its end when people answer and take it up again."""
        deadline = self._world.loop.time() + 3 * 3600
        urged: dict[str, int] = {}
        while self._world.loop.time() < deadline:
            await asyncio.sleep(20)
            shown = [await self.asked(lambda s, g=goal: s.goal(g)) for goal in self._world.living()]
            if all(goal.status in FINAL for goal in shown):
                return
            await self.act("", "answer", "")
            for goal in shown:
                if goal.status in (Status.PAUSED, Status.BLOCKED) or goal.pausing:
                    urged[goal.id] = urged.get(goal.id, 0) + 1
                    verb = "resume" if urged[goal.id] < 8 else "cancel"
                    await self.act(goal.id, verb, f"settle-{goal.id}-{urged[goal.id]}")
        raise Violation(f"I5: not at its end three hours after the last fault: {[str(g.status) for g in shown]}")
