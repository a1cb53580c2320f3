"""The whole distributed part: own a job, do it, hand it back, send what follows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from config.crashpoints import crash_point
from pursuit.errors import PursuitError, StoreUnavailable
from pursuit.models import Digest, Entry, Goal, JobRef, Question
from pursuit.state import JobKind, JobState, Reason
from pursuit.store import Attempt, Fence, Finished, compact_rounds
from worker.dispatch import publish, publish_round
from worker.files.workspace import OutsideWorkspace
from worker.keeper import Keeper
from worker.llm.governor import Closed
from worker.llm.model import Garbled, ModelError, NotConfigured, Rejected
from worker.roles.agent import GaveUp, Stopped
from worker.roles.outcome import Conversation, Outcome
from worker.roles.planner import PlanBlocked, plan_round
from worker.roles.subagent import carry_out
from worker.roles.verifier import verify_round
from worker.roles.waits import Waiting
from worker.runtime import Runtime
from worker.tools.registry import NeedsAnswer

log = structlog.get_logger(__name__)

Work = Callable[[Runtime, Attempt, Goal], Awaitable[tuple[Conversation | None, Outcome]]]
WORK: dict[JobKind, Work] = {
    JobKind.PLAN: plan_round,
    JobKind.SUBTASK: carry_out,
    JobKind.VERIFY: verify_round,
}
#: seconds before a job that failed for a passing reason is tried again, times its attempt
RETRY = 2.0
#: and times this at most
RETRY_MOST = 10


async def run(runtime: Runtime, keeper: Keeper, ref: JobRef, *, in_chord: bool) -> str:
    """Takes the job, if it may be taken, and brings it to an end. Returns what came of it, in a word.

    Whatever goes wrong is recorded in the store; nothing is raised to Celery.
    """
    attempt = await runtime.store.start(ref)
    if not isinstance(attempt, Attempt):
        return attempt.lower()
    crash_point("after_start_before_work")
    try:
        async with keeper.keep(attempt):
            outcome = await _work(runtime, attempt)
            if isinstance(outcome, str):
                return outcome
            crash_point("after_work_before_finish")
            finished = await runtime.store.finish(attempt, outcome.state, outcome.result, outcome.follow)
    except asyncio.CancelledError:
        # cut by the keeper: cancelled by a person, or the lease is lost and somebody else has the job
        return "cut"
    if finished.recorded:
        crash_point("after_finish_before_publish")
        await send(runtime, outcome, finished, in_chord=in_chord)
        crash_point("after_publish")
        if ref.kind is JobKind.PLAN:
            await _compact(runtime, ref.goal)
    return finished.verdict.lower()


async def send(runtime: Runtime, outcome: Outcome, finished: Finished, *, in_chord: bool) -> None:
    """Publishes what follows. A failure costs only time: it is all in the due index already."""
    try:
        if outcome.fan_out:
            await asyncio.to_thread(publish_round, runtime.app, outcome.fan_out)
        following = outcome.next or (finished.verify if not in_chord else None)
        if outcome.otherwise and finished.status != "completed":
            following = outcome.otherwise
        if following and finished.verdict == "FIRST":
            await asyncio.to_thread(publish, runtime.app, following)
    except Exception as error:  # the broker may fail in any way of kombu's, redis-py's or the socket's
        log.warning("publishing failed; a sweeper repeats it", error=str(error))


async def _work(runtime: Runtime, attempt: Attempt) -> Outcome | str:
    """The outcome, or, where there is none, a word on what became of the job instead."""
    goal = await runtime.store.goal(attempt.ref.goal)
    try:
        runtime.check_prices(goal)
        loop, outcome = await WORK[attempt.ref.kind](runtime, attempt, goal)
    except Stopped as stopped:
        if stopped.why in ("pause", Fence.GAP):
            await runtime.store.release(attempt)
            crash_point("after_release")
        return stopped.why.lower()
    except Closed as closed:
        return await _wait(runtime, attempt, closed)
    except Waiting as waiting:
        await runtime.store.wait(
            attempt, waiting.reason, str(waiting)[:500], waiting.seconds, declared=waiting.declared
        )
        return "waiting"
    except NeedsAnswer as asked:
        return await _ask(runtime, attempt, asked)
    except PlanBlocked as blocked:
        return await _block(runtime, attempt, blocked.reason, blocked.text, restart=True)
    except NotConfigured as error:
        await runtime.store.note_account(attempt.ref.goal, error.account)
        return await _block(runtime, attempt, Reason.CONFIGURATION, str(error))
    except OutsideWorkspace as error:
        return await _block(runtime, attempt, Reason.CONFIGURATION, str(error))
    except (GaveUp, Rejected, Garbled) as error:
        text = f"the model brought no {attempt.ref.kind} that holds: {error}"
        return await _block(runtime, attempt, Reason.CONFIGURATION, text, restart=True)
    except StoreUnavailable:
        raise
    except Exception as error:
        return await _try_again(runtime, attempt, error)
    if loop is not None:
        text = await asyncio.to_thread(_transcript, runtime, loop.entries)
        outcome.follow.transcript = text
    return outcome


async def _compact(runtime: Runtime, goal: str) -> None:
    """Moves old rounds out of Redis. What fails here is done with the next plan."""

    def put(text: str) -> str:
        blob = runtime.blobs.put_text(text, durable=True)
        crash_point("after_blob_before_compact")
        return blob

    try:
        await compact_rounds(runtime.store, await runtime.store.goal(goal), put)
    except (PursuitError, OSError) as error:
        log.warning("old rounds stay in Redis for now", goal=goal, error=str(error))


def _transcript(runtime: Runtime, entries: list[Entry]) -> str:
    lines = [entry.model_dump_json() for entry in entries]
    return runtime.blobs.put_text("\n".join(lines))


async def _ask(runtime: Runtime, attempt: Attempt, asked: NeedsAnswer) -> str:
    question = Question(
        id=asked.question,
        kind=asked.kind,
        goal=attempt.ref.goal,
        job=attempt.ref.job,
        text=asked.text,
        options=asked.options,
        asked_at=datetime.now(UTC),
    )
    if await runtime.store.ask(attempt, question) == "READY":
        await runtime.store.release(attempt)
        return "ready"
    crash_point("after_question")
    return "parked"


async def _wait(runtime: Runtime, attempt: Attempt, closed: Closed) -> str:
    """The goal waits until the account has quota again; meanwhile nothing of it is sent anywhere."""
    await runtime.store.note_account(attempt.ref.goal, closed.account)
    # spread a little, so that one call finds out before all others come
    spread = random.uniform(0, min(2.0, closed.seconds / 10))
    await runtime.store.wait(attempt, Reason.QUOTA, str(closed)[:500], closed.seconds + spread)
    crash_point("after_wait")
    return "waiting"


async def _block(runtime: Runtime, attempt: Attempt, reason: Reason, text: str, *, restart: bool = False) -> str:
    await runtime.store.block(attempt, reason, text, restart=restart)
    return "blocked"


async def _try_again(runtime: Runtime, attempt: Attempt, error: Exception) -> Outcome | str:
    """A passing trouble is tried again; after too many tries in vain a subtask fails and anything else blocks."""
    expected = isinstance(error, ModelError)
    log.warning("attempt failed", job=attempt.ref.job, error=str(error), exc_info=None if expected else error)
    if await runtime.store.retry(attempt, RETRY * min(attempt.number, RETRY_MOST)) != "LAST":
        crash_point("after_retry")
        return "retry"
    text = f"{type(error).__name__}: {error}"[:1000]
    if attempt.ref.kind is not JobKind.SUBTASK:
        return await _block(runtime, attempt, Reason.CONFIGURATION, text)
    digest = Digest(outcome="failed", answer=text, gaps=("this subtask was not done",))
    said = {"subtask": attempt.ref.job, "outcome": "failed", "answer": text[:300], "artifacts": []}
    outcome = Outcome(state=JobState.FAILED, result=digest.model_dump_json())
    outcome.follow.events = [("subtask.finished", "engine", said)]
    return outcome
