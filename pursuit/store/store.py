"""The store: writing. One method per script; every call may be repeated with the same nonce."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from redis import exceptions
from redis.asyncio import Redis
from ulid import ULID

from pursuit.audit import Problem, audit_log, audit_results
from pursuit.contract import Contract, Wait
from pursuit.errors import InvalidField, NotFound, StoreFull, StoreUnavailable, StoreUnsuitable
from pursuit.models import AddBudget, Artifact, Brief, Digest, Entry, JobRef, Question, RoundSummary, Submission
from pursuit.state import JobState, Reason
from pursuit.store import keys
from pursuit.store.changes import Change, amended
from pursuit.store.limits import Limits
from pursuit.store.reading import Archive, Reading, reach
from pursuit.store.replies import (
    Attempt,
    Beat,
    Command,
    Fence,
    Finished,
    Parent,
    Start,
    Swept,
    budget_fields,
    new_fields,
)
from pursuit.store.scripts import Clock, Scripts

#: The share of Redis' `maxmemory` from which no more goals are taken; what runs has the rest to finish in.
FULL = 0.8
#: How many rounds before the present one are kept whole in Redis; older ones are compacted to summaries.
WHOLE_ROUNDS = 3

#: how often an amendment is made anew where somebody else was quicker
AMEND_TRIES = 5

#: What the audit puts right when asked to.
REPAIRED = frozenset({"I4", "I5", "I6", "I7", "I11", "lists"})

#: The digest of a job that has ended its worker each time it was tried.
CORPSE = Digest(
    outcome="failed",
    answer="The worker process died each time this subtask was tried; it was given up.",
    gaps=("this subtask was not done",),
).model_dump_json()


@dataclass(frozen=True)
class Timing:
    """The clockwork of the durable core. Seconds, except for the count of attempts."""

    lease: float = 30.0
    beat: float = 10.0
    sweep: float = 1.0
    #: until an unpublished or unanswered job is published again; doubles with each copy
    redispatch: float = 15.0
    redispatch_most: float = 600.0
    #: how long a verification waits for the chord's body before a sweeper sends it
    chord_grace: float = 5.0
    #: how many attempts in a row may end without having recorded anything
    attempts: int = 5
    #: how long a final goal is kept
    retention: float = 30 * 86400.0
    idempotency: float = 86400.0


@dataclass
class Follow:
    """What follows from a job's result, recorded in the same script."""

    jobs: Sequence[tuple[JobRef, Brief | None]] = ()
    round: int | None = None
    status: str | None = None
    reason: str = ""
    detail: str = ""
    set: dict[str, str] = field(default_factory=dict)
    artifacts: Sequence[Artifact] = ()
    events: Sequence[tuple[str, str, dict[str, Any]]] = ()
    transcript: str | None = None
    #: the files that a subtask wrote, to be merged by the verification
    layer: Sequence[Artifact] | None = None
    #: jobs whose layers are committed by this, and late jobs that it has read
    merged: Sequence[str] = ()
    heard: Sequence[str] = ()
    #: new ones on the goal's list, and one that is closed
    items: Sequence[str] = ()
    closes: str = ""
    #: the contract that the planner drafted, and the revision it is made from
    draft: tuple[int, Contract] | None = None
    #: a question of the engine's that the job to follow waits for
    ask: Question | None = None
    #: the contract's revision that a completion rests on; where it has been amended, this round is planned instead
    revision: int = 0
    otherwise: tuple[int, JobRef] | None = None

    def encode(self) -> str:
        whole: dict[str, Any] = {
            "jobs": [[ref.job, brief.model_dump_json() if brief else ""] for ref, brief in self.jobs],
            "set": self.set,
            "artifacts": {item.path: item.model_dump_json() for item in self.artifacts},
            "events": [[kind, actor, json.dumps(data)] for kind, actor, data in self.events],
        }
        if self.status:
            whole |= {"status": self.status, "reason": self.reason, "detail": self.detail}
        if self.round:
            whole["round"] = self.round
        if self.transcript:
            whole["transcript"] = self.transcript
        if self.layer is not None:
            whole["layer"] = json.dumps([item.model_dump(mode="json") for item in self.layer])
        for name in ("merged", "heard", "items"):
            if named := getattr(self, name):
                whole[name] = list(named)
        if self.draft:
            number, contract = self.draft
            said = {
                "revision": contract.revision,
                "criteria": [f"{name} {c.text} ({c.check.kind})" for name, c in contract.named()],
                "changed": ["criteria"],
            }
            whole["draft"] = {"from": number, "contract": contract.model_dump_json(), "event": json.dumps(said)}
        if self.closes:
            whole["closes"] = self.closes
        if self.ask:
            whole["ask"] = {"job": self.ask.job, "question": self.ask.id, "data": asked(self.ask)}
        if self.otherwise:
            number, ref = self.otherwise
            whole |= {"revision": self.revision, "otherwise": {"round": number, "jobs": [[ref.job, ""]]}}
        return json.dumps(whole)


def asked(question: Question) -> str:
    """A question as the store keeps it."""
    kept = {
        "question": question.id,
        "kind": question.kind,
        "job": question.job,
        "text": question.text,
        "options": list(question.options),
        "asked_at": str(int(question.asked_at.timestamp() * 1000)),
    }
    return json.dumps(kept)


@dataclass(frozen=True)
class Spent:
    """What a model call has used; `cached` is part of `tokens_in`."""

    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0
    micros: int = 0


@dataclass(frozen=True)
class Wanted:
    """A model call to be reserved: `work`, `close` or `report`, and what it may take."""

    kind: str = "work"
    tokens: int = 0
    micros: int = 0


class Store(Reading):
    """Goals in Redis. Use `Store.open` to get one that knows the number of shards."""

    def __init__(
        self,
        redis: Redis,
        *,
        shards: int,
        timing: Timing | None = None,
        clock: Clock | None = None,
        archive: Archive | None = None,
        flags: bool = False,
    ):
        super().__init__(redis, keys.Keys(shards), archive)
        self.timing = timing or Timing()
        self._scripts = Scripts(redis, clock, flags=flags)
        self.limits = Limits(redis, clock, flags=flags)

    @classmethod
    async def open(
        cls,
        redis: Redis,
        *,
        shards: int = 4,
        timing: Timing | None = None,
        clock: Clock | None = None,
        archive: Archive | None = None,
    ) -> Store:
        """The store in this Redis. `shards` counts only at the very first start; later ones read it back.

        Raises StoreUnavailable, or StoreUnsuitable for a Redis that throws keys away when memory runs short.
        """
        server = await _server(redis)
        policy = server.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise StoreUnsuitable(f"its maxmemory-policy is {policy}: it would throw goals away")
        await reach(redis.hsetnx(keys.CONFIG, "shards", str(shards)))
        fixed = await reach(redis.hget(keys.CONFIG, "shards"))
        flags = int(str(server.get("redis_version", "0")).partition(".")[0]) >= 7
        store = cls(redis, shards=int(fixed or shards), timing=timing, clock=clock, archive=archive, flags=flags)
        if server.get("aof_enabled") == 0:
            store.warning = "Redis runs without append-only file: its crash loses what came since its last snapshot"
        return store

    async def close(self) -> None:
        await self.redis.aclose()

    # --- submit -----------------------------------------------------------------------------

    def new_id(self, idempotency_key: str | None = None) -> str:
        """A fresh goal id, in the shard of the idempotency key where there is one."""
        wanted = keys.shard_of(idempotency_key, self.keys.shards) if idempotency_key else None
        while True:
            goal = f"goal_{ULID()}"
            if wanted is None or keys.shard_of(goal, self.keys.shards) == wanted:
                return goal

    async def submit(
        self,
        submission: Submission,
        *,
        key: str | None = None,
        request: str = "",
        goal: str | None = None,
        parent: Parent | None = None,
    ) -> tuple[str, bool]:
        """Saves a goal. Returns its id and whether it is new; a repeated `key` gives the first one's.

        Raises IdempotencyMismatch when the key came with another `request` hash, and StoreFull.
        """
        await self._check_room()
        goal = goal or self.new_id(key)
        start_at = submission.start_at
        reply = await self._scripts.run(
            "submit",
            [*self._pair(goal), self.keys.idempotency(goal, key or goal)],
            [
                request or "-",
                json.dumps(new_fields(goal, submission, int(self.timing.retention), parent)),
                str(int(start_at.timestamp() * 1000)) if start_at else "",
                _ms(self.timing.redispatch),
                json.dumps({"objective": submission.objective[:500], "labels": submission.labels}),
                int(self.timing.idempotency),
            ],
        )
        return reply[1], reply[0] == "NEW"

    async def _check_room(self) -> None:
        memory = await _server(self.redis, "memory")
        used, most = int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0))
        if most and used >= FULL * most:
            raise StoreFull(f"Redis uses {used / most:.0%} of its maxmemory of {most // 2**20} MiB")

    # --- attempts ---------------------------------------------------------------------------

    async def start(self, ref: JobRef, nonce: str | None = None) -> Attempt | Start:
        """Takes a job: an attempt that owns it, or why it may not be run."""
        nonce = nonce or uuid4().hex
        reply = await self._scripts.run(
            "start", self._pair(ref.goal), [ref.job, nonce, _ms(self.timing.lease), self.timing.attempts]
        )
        verdict = Start(reply[0])
        if verdict is not Start.RUN:
            return verdict
        return Attempt(
            ref=ref,
            nonce=nonce,
            number=int(reply[1]),
            journal_length=int(reply[2]),
            brief=str(reply[3]),
            active=int(reply[4]) / 1000,
        )

    async def beat(self, attempts: Sequence[Attempt]) -> list[Beat | None]:
        """Keeps the leases of all attempts in one pipeline. None stands for a call that failed."""
        calls = [(self._pair(a.ref.goal), [a.ref.job, a.nonce, _ms(self.timing.lease)]) for a in attempts]
        replies = await self._scripts.run_many("beat", calls)
        return [None if isinstance(reply, Exception) else _beat(reply) for reply in replies]

    async def journal(
        self,
        attempt: Attempt,
        index: int,
        entries: Sequence[Entry],
        *,
        call: Spent | None = None,
        following: Wanted | None = None,
        note: str = "",
    ) -> Beat:
        """Records entries from `index` on. With `call` there is a model's answer among them, a step: it is settled, and
        the `following` call reserved."""
        spent, wanted = call or Spent(), following or Wanted(kind="")
        reply = await self._scripts.run(
            "journal",
            self._pair(attempt.ref.goal),
            [
                attempt.ref.job,
                attempt.nonce,
                index,
                json.dumps([entry.model_dump_json() for entry in entries]),
                int(call is not None),
                spent.tokens_in,
                spent.tokens_out,
                note[:200],
                spent.cached,
                spent.micros,
                wanted.kind,
                wanted.tokens,
                wanted.micros,
            ],
        )
        return _beat(reply)

    async def spend(self, attempt: Attempt, wanted: Wanted) -> Beat:
        """Reserves a call. What the budget doesn't allow is said in `over`."""
        args = [attempt.ref.job, attempt.nonce, wanted.kind, wanted.tokens, wanted.micros]
        return _beat(await self._scripts.run("spend", self._pair(attempt.ref.goal), args))

    async def note_account(self, goal: str, account: str) -> None:
        """Which account stops a goal: a person's resume says that it pays again."""
        await reach(self.redis.hset(self.keys.goal(goal), "account", account))

    async def note_closing(self, goal: str, text: str) -> None:
        """Keeps the closing report of a goal that is about to be blocked."""
        await reach(self.redis.hset(self.keys.goal(goal), "closing", text))

    async def limited(self, attempt: Attempt, seconds: float, why: str) -> None:
        """Shows that the attempt waits for its provider."""
        await self._scripts.run(
            "limited", self._pair(attempt.ref.goal), [attempt.ref.job, attempt.nonce, _ms(seconds), why]
        )

    async def finish(self, attempt: Attempt, state: JobState, result: str, follow: Follow | None = None) -> Finished:
        """Records a job's result and what follows; see finish.lua."""
        reply = await self._scripts.run(
            "finish",
            self._pair(attempt.ref.goal),
            [
                attempt.ref.job,
                attempt.nonce,
                state,
                result,
                (follow or Follow()).encode(),
                _ms(self.timing.redispatch),
                _ms(self.timing.chord_grace),
            ],
        )
        opened = len(reply) > 1 and int(reply[1]) == 1
        verify = JobRef.of(attempt.ref.goal, attempt.ref.round, "verify") if opened else None
        return Finished(verdict=reply[0], verify=verify, status=reply[2] if len(reply) > 2 else "")

    async def ask(self, attempt: Attempt, question: Question) -> str:
        """Parks the job until the question is answered. READY: it has its answer already."""
        return await self._park(attempt, "question", question=question.id, data=asked(question))

    async def release(self, attempt: Attempt) -> str:
        """Hands a job back unfinished, its journal kept, without counting the attempt."""
        return await self._park(attempt, "release")

    async def retry(self, attempt: Attempt, wait: float) -> str:
        """Hands a job back to be tried again after `wait` seconds. LAST: it has been tried often enough, in vain."""
        return await self._park(attempt, "retry", wait=wait)

    async def wait(
        self, attempt: Attempt, reason: Reason, detail: str, seconds: float, *, declared: Wait | None = None
    ) -> str:
        """Lets the goal wait for something outside it; job and goal go on by themselves after `seconds`.

        A `declared` wait is kept with the goal until it has come about, and its job then begins anew.
        """
        data = declared.model_dump_json() if declared else ""
        return await self._park(attempt, "wait", reason=reason, detail=detail, wait=seconds, data=data)

    async def block(self, attempt: Attempt, reason: Reason, detail: str, *, restart: bool = False) -> str:
        """Blocks the goal; a resume gives the job fresh attempts, with `restart` from an empty journal."""
        return await self._park(attempt, "restart" if restart else "block", reason=reason, detail=detail)

    async def _park(
        self,
        attempt: Attempt,
        why: str,
        *,
        question: str = "",
        data: str = "",
        reason: str = "",
        detail: str = "",
        wait: float = 0,
    ) -> str:
        reply = await self._scripts.run(
            "park",
            self._pair(attempt.ref.goal),
            [
                attempt.ref.job,
                attempt.nonce,
                why,
                question,
                data,
                reason,
                detail[:2000],
                _ms(wait),
                self.timing.attempts,
            ],
        )
        return str(reply[0])

    # --- the due index ----------------------------------------------------------------------

    async def sweep(self, refs: Sequence[JobRef]) -> Swept:
        """Looks at overdue jobs; each answer is re-checked inside the script."""
        t = self.timing
        calls = [
            (
                self._pair(ref.goal),
                [
                    ref.job,
                    t.attempts,
                    _ms(t.redispatch),
                    _ms(t.redispatch_most),
                    _ms(t.chord_grace),
                    CORPSE,
                ],
            )
            for ref in refs
        ]
        publish, buried = [], []
        for ref, reply in zip(refs, await self._scripts.run_many("sweep", calls), strict=True):
            if isinstance(reply, Exception):
                continue
            if reply[0] == "PUBLISH":
                publish.append(ref)
            elif reply[0] == "BURIED":
                buried.append(ref)
                if int(reply[1]) == 1:
                    publish.append(JobRef.of(ref.goal, ref.round, "verify"))
        return Swept(publish=tuple(publish), buried=tuple(buried))

    async def recover(self, goal: str, server: str) -> bool:
        """Notes in a goal that Redis is another server process than before. False: noted already."""
        return bool((await self._scripts.run("recover", self._pair(goal), [server]))[0] == "NOTED")

    async def audit(self, goal: str, *, repair: bool = False) -> list[Problem]:
        """What is wrong with a goal's keys and log; `repair` puts right what is safe to. Raises NotFound."""
        suspects = await self.due_of_goal(goal)
        found, *wrong = await self._scripts.run("audit", self._pair(goal), [int(repair), json.dumps(suspects)])
        if found == "GONE":
            raise NotFound(f"there is no goal {goal[:80]!r}")
        problems = [Problem(invariant=name, text=text, repaired=repair and name in REPAIRED) for name, text in wrong]
        log = [event async for event in self.whole_log(goal)]
        return problems + audit_log(log) + await self._audit_results(goal)

    async def _audit_results(self, goal: str) -> list[Problem]:
        shown = await self.goal(goal)
        problems: list[Problem] = []
        for number in range(shown.compacted + 1, shown.round + 1):
            jobs = await self.jobs(goal, number)
            if f"r{number}-verify" in jobs:
                ended = {job: str(record.state) for job, record in jobs.items() if record.ended}
                problems += audit_results(ended, await self.results(goal, number))
        return problems

    async def remember_server(self, shard: int, server: str) -> None:
        """All goals of the shard know of this Redis process."""
        await reach(self.redis.set(self.keys.server_of(shard), server))

    async def compact(self, goal: str, round_number: int, summary: RoundSummary) -> bool:
        """Replaces an old round by its summary. False: it isn't its turn, or it has been."""
        args = [round_number, WHOLE_ROUNDS, summary.model_dump_json()]
        return bool((await self._scripts.run("compact", self._pair(goal), args))[0] == "COMPACTED")

    async def forget(self, goal: str) -> bool:
        """Takes a goal whose keys have expired out of the lists."""
        return bool((await self._scripts.run("forget", self._pair(goal), []))[0] == "FORGOTTEN")

    # --- a person's words -------------------------------------------------------------------

    # Each takes the command's `key`: the same one again gets the first answer, and does nothing more.

    async def pause(self, goal: str, *, mode: str = "now", reason: str = "", key: str = "") -> Command:
        return await self._command("pause", goal, [mode, reason], key)

    async def resume(self, goal: str, *, reason: str = "", add: AddBudget | None = None, key: str = "") -> Command:
        parts = {part: value for part, value in (add or AddBudget()).model_dump().items() if value}
        if account := await reach(self.redis.hget(self.keys.goal(goal), "account")):
            await self.limits.reopen(account)
        more = {field.removeprefix("budget_"): value for field, value in budget_fields(parts).items()}
        return await self._command("resume", goal, [reason, json.dumps(more)], key)

    async def cancel(self, goal: str, *, reason: str = "", key: str = "") -> Command:
        return await self._command("cancel", goal, [reason], key)

    async def guide(self, goal: str, text: str, *, subtask: str = "", key: str = "") -> Command:
        return await self._command("guide", goal, [text, subtask], key)

    async def accept(self, goal: str, *, reason: str = "", key: str = "") -> Command:
        """Completes a goal at a person's word, with whatever gaps it has."""
        return await self._command("accept", goal, [reason], key)

    async def amend(self, goal: str, change: Change, *, expected: str = "", key: str = "") -> Command:
        """Changes what a goal is held to or may use. Raises Stale where the goal is at another revision than
        `expected`, and InvalidField for a change that doesn't fit the contract."""
        request = hashlib.sha256(f"amend {change.model_dump_json()}".encode()).hexdigest()[:16]
        for _ in range(AMEND_TRIES):
            shown = await self.goal(goal)
            try:
                args = amended(shown, change)
            except ValueError as error:
                raise InvalidField(str(error)) from error
            reply = await self._scripts.run("amend", self._pair(goal), [expected, *args, key, request])
            if reply[0] != "AGAIN":
                return Command(changed=True, status=reply[1])
        raise StoreUnavailable("the contract is being changed by others all the time")

    async def answer(self, goal: str, question: str, answer: str) -> JobRef:
        """Records the first answer; the same one again is no error. Returns the job that had asked."""
        reply = await self._scripts.run("answer", self._pair(goal), [question, answer])
        return JobRef(goal=goal, job=reply[1])

    async def _command(self, name: str, goal: str, args: list[Any], key: str) -> Command:
        request = hashlib.sha256(json.dumps([name, *args]).encode()).hexdigest()[:16]
        reply = await self._scripts.run(name, self._pair(goal), [*args, key, request])
        return Command(changed=reply[0] == "CHANGED", status=reply[1])

    def _pair(self, goal: str) -> list[str]:
        return [self.keys.goal(goal), self.keys.due(goal)]


async def _server(redis: Redis, *sections: str) -> dict[str, Any]:
    """What the server says of itself; one that won't tell is trusted."""
    try:
        said: dict[str, Any] = await reach(redis.info(*sections))
    except exceptions.ResponseError:
        return {}
    return said


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _beat(reply: list[Any]) -> Beat:
    return Beat(
        fence=Fence(reply[0]),
        wish=reply[1] if len(reply) > 1 else "",
        used_steps=int(reply[2]) if len(reply) > 2 else 0,
        guided=int(reply[3]) if len(reply) > 3 else 0,
        over=reply[4] if len(reply) > 4 else "",
        hurried=len(reply) > 5 and int(reply[5]) == 1,
    )
