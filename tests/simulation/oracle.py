"""Watches every script as it is carried out, and says at once which invariant a reply breaks."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from pursuit.store import Attempt


class Violation(AssertionError):
    """An invariant doesn't hold."""


@dataclass
class Memory:
    """What has truly happened, as far as Redis remembers it: it goes back in time together with Redis."""

    #: (goal, job) -> nonce and end of the lease, in ms
    leases: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    ended: set[tuple[str, str]] = field(default_factory=set)
    verifications: set[tuple[str, int]] = field(default_factory=set)
    #: recorded entries of a job, and the names of those with an effect: "turn 3", "tool c3"
    recorded: dict[tuple[str, str], int] = field(default_factory=dict)
    effects: set[tuple[str, str, str]] = field(default_factory=set)
    #: steps recorded with usage, by goal
    steps: dict[str, int] = field(default_factory=dict)
    #: goal -> sequence number at its end
    final: dict[str, int] = field(default_factory=dict)
    submitted: set[str] = field(default_factory=set)
    #: goal -> rounds added by commands, each counted once by its key
    added: dict[str, dict[str, int]] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)

    def copy(self) -> Memory:
        return Memory(
            dict(self.leases), set(self.ended), set(self.verifications), dict(self.recorded), set(self.effects),
            dict(self.steps),
            dict(self.final), set(self.submitted), {g: dict(a) for g, a in self.added.items()}, set(self.cancelled),
        )  # fmt: skip


class Oracle:
    """One a run."""

    def __init__(self, now: Any) -> None:
        self.memory = Memory()
        self._now = now
        self.seen: dict[str, int] = {}
        self.broken: Violation | None = None
        #: the last scripts, to be shown with a violation
        self.history: deque[str] = deque(maxlen=400)

    def count(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, 0) + 1

    def script(self, name: str, goal: str, args: list[Any], reply: Any, *, seq: int) -> None:
        """A script was carried out; `seq` is the goal's number of events after it."""
        if isinstance(reply, Exception):
            self.count(f"{name} {str(reply).split(' ')[0]}")
            return
        verdict = reply[0]
        words = [str(word)[:60] for word in args[1:4]]
        self.history.append(f"{self._now() % 10**8:>9} {goal} {name} {' '.join(words)} -> {reply}"[:220])
        self.count(f"{name} {verdict}")
        known = self.memory.final.get(goal)
        if known is not None and seq != known:
            raise Violation(f"I7: {name} recorded something after the end of {goal}")
        rule = getattr(self, f"_{name}", None)
        if rule:
            rule(goal, args, reply)
        by_people = verdict == "CHANGED" and name in ("cancel", "accept")
        ended = by_people or (name, *reply[::2]) == ("finish", "FIRST", "completed")
        if known is None and ended:
            self.memory.final[goal] = seq

    def effect(self, goal: str, job: str, nonce: str, name: str) -> None:
        """A model call or a tool call is made. One that is cut off from Redis may not know yet that it is too late."""
        self.count("effect")
        if self.memory.leases.get((goal, job), ("", 0))[0] == nonce and (goal, job, name) in self.memory.effects:
            # kept as well as raised: the house's code takes what a tool raises for the tool's trouble
            self.broken = Violation(f"I8: {name} of {job} is recorded, and was made again")
            raise self.broken

    def verified(self, attempt: Attempt, *, complete: bool) -> None:
        """A verification has read its round's digests; who has lost the job may read another time's."""
        owner, _ = self.memory.leases.get((attempt.ref.goal, attempt.ref.job), ("", 0))
        if owner == attempt.nonce and not complete:
            self.broken = Violation(f"I10: {attempt.ref.job} runs, and digests of its round are missing")
            raise self.broken

    def _submit(self, goal: str, args: list[Any], reply: Any) -> None:
        if reply[0] == "NEW":
            self.memory.submitted.add(goal)

    def _start(self, goal: str, args: list[Any], reply: Any) -> None:
        job, nonce, lease = (goal, str(args[1])), str(args[2]), int(args[3])
        if reply[0] != "RUN":
            return
        owner, until = self.memory.leases.get(job, ("", 0))
        if owner and owner != nonce and until > self._now():
            raise Violation(f"I11: {job[1]} was leased while another lease is live")
        if job in self.memory.ended:
            raise Violation(f"I1: {job[1]} has its result and was leased again")
        if owner != nonce:
            self.memory.leases[job] = (nonce, self._now() + lease)

    def _beat(self, goal: str, args: list[Any], reply: Any) -> None:
        job, nonce = (goal, str(args[1])), str(args[2])
        if reply[0] == "KEPT":
            if self.memory.leases.get(job, ("", 0))[0] != nonce:
                raise Violation(f"I11: a lease of {job[1]} was kept for who doesn't own it")
            self.memory.leases[job] = (nonce, self._now() + int(args[3]))

    def _journal(self, goal: str, args: list[Any], reply: Any) -> None:
        job, index = (goal, str(args[1])), int(args[3])
        if reply[0] != "KEPT":
            return
        if self.memory.leases.get(job, ("", 0))[0] != str(args[2]):
            raise Violation(f"I11: {job[1]} was journaled by who doesn't own it")
        if self.memory.recorded.get(job, 0) != index:
            raise Violation(f"I8: {job[1]} has {self.memory.recorded.get(job, 0)} entries and took one at {index}")
        entries = [json.loads(text) for text in json.loads(args[4])]
        self.memory.recorded[job] = index + len(entries)
        self.memory.effects |= {(*job, f"tool {e['body']['id']}") for e in entries if e["kind"] == "result"}
        if str(args[5]) == "1":
            turn = sum(1 for kept in self.memory.effects if kept[:2] == job and kept[2].startswith("turn"))
            self.memory.effects.add((*job, f"turn {turn}"))
            self.memory.steps[goal] = self.memory.steps.get(goal, 0) + 1

    def _finish(self, goal: str, args: list[Any], reply: Any) -> None:
        job, nonce = (goal, str(args[1])), str(args[2])
        if reply[0] != "FIRST":
            return
        if self.memory.leases.get(job, ("", 0))[0] != nonce:
            raise Violation(f"I11: {job[1]} was finished by who doesn't own it")
        self._end(job)
        if int(reply[1]) == 1:
            self._verification(job)

    def _sweep(self, goal: str, args: list[Any], reply: Any) -> None:
        job = (goal, str(args[1]))
        _, until = self.memory.leases.get(job, ("", 0))
        if reply[0] != "NOTHING" and until > self._now():
            raise Violation(f"I11: the sweeper took {job[1]} from a living owner")
        if reply[0] == "BURIED":
            if job[1].endswith(("-plan", "-verify")):
                self.memory.leases.pop(job, None)
                return
            self._end(job)
            if int(reply[1]) == 1:
                self._verification(job)
        elif reply[0] == "PUBLISH":
            self.memory.leases.pop(job, None)

    def _park(self, goal: str, args: list[Any], reply: Any) -> None:
        job = (goal, str(args[1]))
        owner, _ = self.memory.leases.get(job, ("", 0))
        if reply[0] == "PARKED" and owner == str(args[2]):
            del self.memory.leases[job]
            if args[3] == "restart":
                self.memory.recorded.pop(job, None)
                self.memory.effects = {kept for kept in self.memory.effects if kept[:2] != job}

    def _end(self, job: tuple[str, str]) -> None:
        if job in self.memory.ended:
            raise Violation(f"I1: the result of {job[1]} was recorded twice")
        self.memory.ended.add(job)
        self.memory.leases.pop(job, None)

    def _verification(self, job: tuple[str, str]) -> None:
        fired = (job[0], int(job[1].partition("-")[0][1:]))
        if fired in self.memory.verifications:
            raise Violation(f"I2: the join of round {fired[1]} fired twice")
        self.memory.verifications.add(fired)

    def _resume(self, goal: str, args: list[Any], reply: Any) -> None:
        more = json.loads(args[2]).get("rounds", 0)
        self.memory.added.setdefault(goal, {})[str(args[3])] = more

    def _cancel(self, goal: str, args: list[Any], reply: Any) -> None:
        self.memory.cancelled.add(goal)
