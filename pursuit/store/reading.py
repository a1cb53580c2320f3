"""The store: reading. Nothing here changes anything."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from redis import exceptions
from redis.asyncio import Redis

from pursuit.contract import Contract
from pursuit.errors import InvalidRequest, NotFound, StoreUnavailable
from pursuit.models import (
    Artifact,
    Digest,
    Entry,
    Event,
    Goal,
    Guidance,
    Job,
    JobRef,
    PlannedRound,
    Question,
    RoundRecord,
    RoundSummary,
    Verdict,
)
from pursuit.state import FINAL, Status
from pursuit.store import keys
from pursuit.store.keys import Keys
from pursuit.store.replies import Wishes, event_of, goal_of, guidance_of, question_of

#: A server that doesn't answer, or answers but can't be used now: a replica, or one without its master or its cluster.
AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.MasterDownError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    OSError,
)
#: Gives the text of a blob by its hash; raises KeyError for one that isn't here.
Archive = Callable[[str], str]


class Reading:
    """Everything that can be read of goals. Rounds that have been compacted are read from the archive."""

    #: what a person should know of this Redis, or nothing
    warning = ""

    def __init__(self, redis: Redis, keys: Keys, archive: Archive | None = None) -> None:
        self.redis = redis
        self.keys = keys
        self._archive = archive

    async def ping(self) -> None:
        """Returns when Redis answers; raises StoreUnavailable."""
        await reach(self.redis.ping())

    async def now(self) -> datetime:
        """The time, by the clock that counts."""
        seconds, micros = await reach(self.redis.time())
        return datetime.fromtimestamp(seconds + micros / 1_000_000, UTC)

    async def goal(self, goal: str) -> Goal:
        """The goal as it stands. Raises NotFound."""
        return (await self.goals([goal]))[0]

    async def goals(self, ids: Sequence[str], *, missing_ok: bool = False) -> list[Goal]:
        pipe = self.redis.pipeline(transaction=False)
        pipe.time()
        for goal in ids:
            pipe.hgetall(self.keys.goal(goal))
            pipe.scard(self.keys.goal(goal) + ":open")
        (seconds, micros), *replies = await reach(pipe.execute())
        now = seconds * 1000 + micros // 1000
        found = []
        for goal, fields, open_jobs in zip(ids, replies[::2], replies[1::2], strict=True):
            if fields:
                found.append(goal_of(fields, open_jobs, now))
            elif not missing_ok:
                raise NotFound(f"there is no goal {goal[:80]!r}")
        return found

    async def list_goals(
        self,
        *,
        statuses: Iterable[Status] = tuple(Status),
        limit: int = 50,
        cursor: str | None = None,
        oldest_first: bool = False,
    ) -> tuple[list[Goal], str | None]:
        """A page of goals by time of submission, and the cursor of the next one."""
        after = _decode_cursor(cursor) if cursor else None
        pipe = self.redis.pipeline(transaction=False)
        for shard in range(self.keys.shards):
            for status in statuses:
                _range(pipe, self.keys.listing(shard, status), after, limit + 50, oldest_first)
        pages = await reach(pipe.execute())
        rows = sorted({(int(at), goal) for page in pages for goal, at in page}, reverse=not oldest_first)
        if after:
            rows = [row for row in rows if (row > after if oldest_first else row < after)]
        chosen = rows[:limit]
        following = _encode_cursor(*chosen[-1]) if len(rows) > limit else None
        return await self.goals([goal for _, goal in chosen], missing_ok=True), following

    async def jobs(self, goal: str, round_number: int) -> dict[str, Job]:
        """A round's jobs by id."""
        kept = await self._of_round("jobs", goal, round_number)
        return {job: Job.model_validate({"id": job, **json.loads(text)}) for job, text in sorted(kept.items())}

    async def job(self, ref: JobRef) -> Job:
        text = await self._record(ref)
        if text is None:
            raise NotFound(f"goal {ref.goal} has no subtask {ref.job}")
        return Job.model_validate({"id": ref.job, **json.loads(text)})

    async def transcript_of(self, ref: JobRef) -> str | None:
        """The blob of an ended job's journal, by hash; None while the journal is still here."""
        text = await self._record(ref)
        return json.loads(text).get("transcript") if text else None

    async def _record(self, ref: JobRef) -> str | None:
        text: str | None = await reach(self.redis.hget(self.keys.jobs(ref.goal, ref.round), ref.job))
        return text or (await self._of_round("jobs", ref.goal, ref.round)).get(ref.job)

    async def _of_round(self, part: str, goal: str, number: int) -> dict[str, str]:
        """`jobs`, `briefs` or `results` of a round, as they were written."""
        kept: dict[str, str] = await reach(self.redis.hgetall(f"{self.keys.goal(goal)}:{part}:{number}"))
        summary = None if kept else await self.summary(goal, number)
        if summary is None:
            return kept
        try:
            text = await asyncio.to_thread(self._archive, summary.blob) if self._archive else "{}"
        except KeyError as error:
            raise NotFound(
                f"round {number} of goal {goal} was moved to blob {summary.blob}, which isn't here",
                action="Let this process use the same PURSUIT_DATA as the workers.",
            ) from error
        archived: dict[str, str] = json.loads(text).get(part, {})
        return archived

    async def whole_round(self, goal: str, number: int) -> dict[str, dict[str, str]]:
        """A round's jobs, briefs and results as they were written: what its blob will hold."""
        return {part: await self._of_round(part, goal, number) for part in ("jobs", "briefs", "results")}

    async def summary(self, goal: str, number: int) -> RoundSummary | None:
        """What is left in Redis of a compacted round."""
        text = await reach(self.redis.hget(self.keys.rounds(goal), str(number)))
        return RoundSummary.model_validate_json(text) if text else None

    async def briefs(self, goal: str, round_number: int) -> dict[str, str]:
        return await self._of_round("briefs", goal, round_number)

    async def results(self, goal: str, round_number: int) -> dict[str, str]:
        """A round's results by job id, as JSON."""
        return await self._of_round("results", goal, round_number)

    async def digests(self, goal: str, round_number: int) -> dict[str, Digest]:
        kept = await self.results(goal, round_number)
        return {
            job: Digest.model_validate_json(text)
            for job, text in sorted(kept.items())
            if not job.endswith(("-plan", "-verify"))
        }

    async def round(self, goal: str, number: int) -> RoundRecord:
        """A round as it is shown. Raises NotFound."""
        kept = await reach(self.redis.hgetall(self.keys.jobs(goal, number)))
        if not kept and (summary := await self.summary(goal, number)):
            return summary.record
        jobs = [Job.model_validate({"id": job, **json.loads(text)}) for job, text in kept.items()]
        if not jobs:
            raise NotFound(f"goal {goal} has no round {number}")
        names = [f"r{number}-plan", f"r{number}-verify"]
        plan, verified = await reach(self.redis.hmget(self.keys.results(goal, number), names))
        states: dict[str, int] = {}
        for job in jobs:
            if job.kind == "subtask":
                states[job.state] = states.get(job.state, 0) + 1
        outcome = json.loads(verified) if verified else {}
        return RoundRecord(
            number=number,
            plan=PlannedRound.model_validate_json(plan) if plan else None,
            subtasks=states,
            verdict=Verdict.model_validate(outcome["verdict"]) if outcome else None,
            decision=outcome.get("decision"),
        )

    async def journal_of(self, ref: JobRef) -> list[Entry]:
        """What a job has recorded so far."""
        kept = await reach(self.redis.lrange(self.keys.journal(ref.goal, ref.job), 0, -1))
        return [Entry.model_validate_json(text) for text in kept]

    async def artifacts(self, goal: str) -> list[Artifact]:
        """The files that sub-agents have made, those included that the next verification will merge."""
        found = {file.path: file for file in await self.committed(goal)}
        for layer in (await self.layers(goal)).values():
            found |= {file.path: file.model_copy(update={"pending": True, "was": ""}) for file in layer}
        return [file for _, file in sorted(found.items()) if file.sha256]

    async def committed(self, goal: str) -> list[Artifact]:
        """What verified rounds have changed; a file without content is one that was deleted."""
        kept = await reach(self.redis.hgetall(self.keys.artifacts(goal)))
        return [Artifact.model_validate_json(text) for _, text in sorted(kept.items())]

    async def layers(self, goal: str) -> dict[str, list[Artifact]]:
        """What ended subtasks have written that isn't committed yet, in the order in which it is merged: who is late
        comes after the round that went on without it."""
        kept = await reach(self.redis.hgetall(self.keys.layers(goal)))
        found = {job: [Artifact.model_validate(item) for item in json.loads(text)] for job, text in kept.items()}
        return dict(sorted(found.items(), key=lambda pair: (-JobRef(goal=goal, job=pair[0]).round, pair[0])))

    async def late(self, goal: str) -> dict[str, Digest]:
        """The digests that came when their round had gone on without them, and that no plan has read yet."""
        found = {}
        for job in sorted(await reach(self.redis.hkeys(self.keys.late(goal)))):
            text = (await self.results(goal, JobRef(goal=goal, job=job).round)).get(job)
            if text:
                found[job] = Digest.model_validate_json(text)
        return found

    async def open_items(self, goal: str, most: int = 1_000) -> list[str]:
        """The goal's items that nobody has closed yet, in the order in which they were listed."""
        kept = await reach(self.redis.hgetall(self.keys.items(goal)))
        return [item for item, closed_by in kept.items() if not closed_by][:most]

    async def contracts(self, goal: str) -> list[Contract]:
        """The contract's revisions, oldest first."""
        kept = await reach(self.redis.hgetall(self.keys.contracts(goal)))
        found = [Contract.model_validate_json(text) for text in kept.values()]
        now = (await self.goal(goal)).contract
        return sorted([*(c for c in found if c.revision != now.revision), now], key=lambda c: c.revision)

    async def questions(self, goal: str) -> list[Question]:
        kept = await reach(self.redis.hgetall(self.keys.questions(goal)))
        return sorted((question_of(goal, text) for text in kept.values()), key=lambda q: (q.asked_at, q.id))

    async def guidance(self, goal: str) -> list[Guidance]:
        """What people have said to a goal or its sub-agents, oldest first."""
        kept = await reach(self.redis.lrange(self.keys.guidance(goal), 0, -1))
        return [guidance_of(text) for text in kept]

    async def question(self, goal: str, question: str) -> Question:
        text = await reach(self.redis.hget(self.keys.questions(goal), question))
        if text is None:
            raise NotFound(f"there is no question {question[:80]!r}")
        return question_of(goal, text)

    async def inbox(self) -> list[Question]:
        """The open questions of all goals, oldest first."""
        found = []
        for shard in range(self.keys.shards):
            for member in await reach(self.redis.zrange(self.keys.inbox_of(shard), 0, -1)):
                goal, _, question = member.partition(" ")
                text = await reach(self.redis.hget(self.keys.questions(goal), question))
                if text:
                    found.append(question_of(goal, text))
        return sorted(found, key=lambda q: q.asked_at)

    # --- events -----------------------------------------------------------------------------

    async def events(self, goal: str, *, after: str | None = None, limit: int = 100) -> list[Event]:
        """A page of a goal's log, from the event after the one with this id."""
        start = f"({check_event_id(after)}" if after else "-"
        kept = await reach(self.redis.xrange(self.keys.events(goal), start, "+", count=limit))
        return [event_of(stream_id, fields) for stream_id, fields in kept]

    async def whole_log(self, goal: str) -> AsyncIterator[Event]:
        """All events of a goal, page by page."""
        after: str | None = None
        while page := await self.events(goal, after=after, limit=1000):
            for event in page:
                yield event
            after = page[-1].id

    async def has_event(self, goal: str, event: str) -> bool:
        """Whether the event with this id is there: it may have been trimmed, or Redis gone back to before it."""
        return bool(await reach(self.redis.xrange(self.keys.events(goal), event, event, count=1)))

    async def follow(self, goal: str, after: str, *, wait: float) -> list[Event]:
        """The events after an id, waiting up to `wait` seconds for the first."""
        kept = await reach(self.redis.xread({self.keys.events(goal): after}, count=500, block=max(1, int(wait * 1000))))
        pairs = (list(kept.values()) if isinstance(kept, dict) else [kept[0][1]]) if kept else []
        flat = pairs[0] if pairs else []
        rows = flat[0] if flat and isinstance(flat[0], list) else flat
        return [event_of(stream_id, fields) for stream_id, fields in rows]

    # --- the due index ----------------------------------------------------------------------

    async def due(self, shard: int, *, now: int | None = None, limit: int = 100) -> list[JobRef]:
        """Jobs of a shard whose time has come."""
        if now is None:
            seconds, micros = await reach(self.redis.time())
            now = seconds * 1000 + micros // 1000
        members = await reach(self.redis.zrangebyscore(self.keys.due_of(shard), "-inf", now, start=0, num=limit))
        return [JobRef(goal=goal, job=job) for goal, _, job in (m.partition(" ") for m in members)]

    async def due_of_goal(self, goal: str) -> list[str]:
        """The jobs of one goal that have an entry in the due index; reads the whole shard, for audits only."""
        found: set[str] = set()
        cursor: Any = None
        while cursor != 0:
            cursor, page = await reach(self.redis.zscan(self.keys.due(goal), cursor or 0, f"{goal} *", 1000))
            found |= {str(member).partition(" ")[2] for member, _ in page}
        return sorted(found)

    async def expired(self, shard: int, *, now: int | None = None, limit: int = 100) -> list[str]:
        """Final goals of a shard whose keys have expired by now."""
        if now is None:
            seconds, micros = await reach(self.redis.time())
            now = seconds * 1000 + micros // 1000
        found: list[str] = await reach(
            self.redis.zrangebyscore(self.keys.expiring_of(shard), "-inf", now, start=0, num=limit)
        )
        return found

    async def unfinished(self, shard: int) -> list[str]:
        """The goals of a shard that aren't final."""
        pipe = self.redis.pipeline(transaction=False)
        for status in Status:
            if status not in FINAL:
                pipe.zrange(self.keys.listing(shard, status), 0, -1)
        return [goal for page in await reach(pipe.execute()) for goal in page]

    async def server_id(self) -> str:
        """The Redis process that answers, by its run id; '' for a server that won't tell."""
        try:
            said = await reach(self.redis.info("server"))
        except exceptions.ResponseError:
            return ""
        return str(said.get("run_id", ""))

    async def server_of(self, shard: int) -> str | None:
        """The Redis process that the goals of a shard know of."""
        known: str | None = await reach(self.redis.get(self.keys.server_of(shard)))
        return known

    async def lead(self, shard: int, name: str, seconds: float) -> bool:
        """Whether `name` may sweep this shard now. It only saves work: correctness never depends on it."""
        return await self._lead(self.keys.sweeper_of(shard), name, seconds)

    async def lead_audit(self, name: str, seconds: float) -> bool:
        """Whether `name` may audit all goals now; the same holds."""
        return await self._lead(keys.AUDITOR, name, seconds)

    async def _lead(self, key: str, name: str, seconds: float) -> bool:
        if await reach(self.redis.set(key, name, nx=True, px=int(seconds * 1000))):
            return True
        if await reach(self.redis.get(key)) != name:
            return False
        await reach(self.redis.pexpire(key, int(seconds * 1000)))
        return True

    async def final(self, goals: Iterable[str]) -> set[str]:
        """Those of the goals that are completed, cancelled or deleted."""
        ids = list(goals)
        if not ids:
            return set()
        pipe = self.redis.pipeline(transaction=False)
        for goal in ids:
            pipe.hget(self.keys.goal(goal), "status")
        statuses = await reach(pipe.execute())
        return {goal for goal, status in zip(ids, statuses, strict=True) if status is None or status in FINAL}

    async def wishes(self, goals: Iterable[str]) -> dict[str, Wishes]:
        """What people want of the goals."""
        ids = list(goals)
        if not ids:
            return {}
        pipe = self.redis.pipeline(transaction=False)
        for goal in ids:
            pipe.hmget(self.keys.goal(goal), "status", "wish")
            pipe.llen(self.keys.guidance(goal))
        replies = await reach(pipe.execute())
        return {
            goal: Wishes(over=status is None or status in FINAL, wish=wish or "", guided=guided)
            for goal, (status, wish), guided in zip(ids, replies[::2], replies[1::2], strict=True)
        }

    async def count(self, *statuses: Status) -> int:
        """How many goals are in any of these statuses."""
        pipe = self.redis.pipeline(transaction=False)
        for shard in range(self.keys.shards):
            for status in statuses:
                pipe.zcard(self.keys.listing(shard, status))
        return sum(await reach(pipe.execute()))


async def reach(call: Any) -> Any:
    """The answer of Redis; raises StoreUnavailable where it can't be reached."""
    try:
        return await call
    except AWAY as error:
        raise StoreUnavailable(f"Redis: {error}") from error


def check_event_id(text: str) -> str:
    """The id of an event as it came from outside. Raises InvalidRequest where it isn't one."""
    head, _, tail = text.partition("-")
    parts = [head, *([tail] if "-" in text else [])]
    if not all(part.isascii() and part.isdigit() and int(part) < 2**64 for part in parts):
        raise InvalidRequest(
            f"{text[:60]!r} is no event id", action="Use the `id` of an event, such as 1764000000000-0."
        )
    return text


def _range(pipe: Any, key: str, after: tuple[int, str] | None, limit: int, oldest_first: bool) -> None:
    if oldest_first:
        pipe.zrangebyscore(key, after[0] if after else "-inf", "+inf", start=0, num=limit, withscores=True)
    else:
        pipe.zrevrangebyscore(key, after[0] if after else "+inf", "-inf", start=0, num=limit, withscores=True)


def _encode_cursor(at: int, goal: str) -> str:
    return base64.urlsafe_b64encode(f"{at} {goal}".encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> tuple[int, str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        at, _, goal = text.partition(" ")
        return int(at), goal
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(
            "`cursor` isn't one of ours", action="Use the `next_cursor` of the page before, unchanged."
        ) from error
