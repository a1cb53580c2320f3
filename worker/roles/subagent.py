"""The sub-agent: one brief in, one digest out, and the files it wrote."""

from __future__ import annotations

import asyncio

from config.crashpoints import crash_point
from pursuit.models import Blocker, Brief, Digest, Entry, Goal, JobRef
from pursuit.state import JobState
from pursuit.store import Attempt, Follow
from worker.files.states import LAYERED
from worker.files.workspace import OutsideWorkspace, Workspace, Written
from worker.llm.model import Garbled, Rejected
from worker.prompts import fence, prompt
from worker.recording import Ended, replayed
from worker.roles.agent import Assignment, GaveUp, Loop, OutOfBudget
from worker.roles.outcome import Outcome
from worker.roles.replaying import converse
from worker.roles.view import model_of
from worker.runtime import Runtime

#: tools that each sub-agent has, whatever its brief names
ALWAYS = ("ask_person", "read_output")


async def carry_out(runtime: Runtime, attempt: Attempt, goal: Goal) -> tuple[Loop[Digest] | None, Outcome]:
    """Works on the brief until its digest is in. What the model can't do becomes a failed digest."""
    brief = Brief.model_validate_json(attempt.brief)
    workspace = await runtime.layered(goal, f"{attempt.ref.job}-{attempt.nonce[:12]}")
    try:
        return await _carry_out(runtime, attempt, goal, brief, workspace)
    finally:
        await asyncio.to_thread(workspace.discard)


async def _carry_out(
    runtime: Runtime, attempt: Attempt, goal: Goal, brief: Brief, workspace: Workspace
) -> tuple[Loop[Digest] | None, Outcome]:
    if attempt.journal_length:
        journal = await runtime.store.journal_of(attempt.ref)
        await asyncio.to_thread(workspace.restore, recorded(journal))
    scope = brief.write_scope or (f"subtasks/{attempt.ref.job}",)
    wanted = set(brief.tools)
    model = runtime.models.of(model_of(goal, goal.models.subagent), "subagent")
    data = {
        "subtask": attempt.ref.job,
        "round": goal.round,
        "brief": {**brief.model_dump(), "write_scope": scope},
        "goal": {
            "objective": goal.contract.objective,
            "constraints": goal.contract.constraints,
            "boundaries": goal.contract.boundaries,
            "notes": goal.contract.notes,
            "contract_revision": goal.contract.revision,
        },
        "inputs": [f"inputs/{name}" for name in workspace.mounts],
        "secrets": list(runtime.settings.secrets),
    }
    assignment = Assignment(
        system=prompt("subagent"),
        user=fence("brief", data),
        submit="submit_digest",
        submit_help="Hand in your digest; this ends your work.",
        result=Digest,
        toolbox=runtime.toolbox(
            goal,
            await runtime.tools_for(goal),
            attempt.ref,
            workspace,
            lambda tool: tool.name != "read_digest" and (not wanted or tool.name in wanted or tool.name in ALWAYS),
            scope,
            window=model.profile.window,
        ),
        steps=brief.steps,
        model=model,
        review=lambda digest, entries: _missing(digest, workspace),
        budget=("work", "close"),
        seconds=brief.seconds or runtime.settings.subagent_seconds,
    )
    loop: Loop[Digest] | None = None
    try:
        loop = await converse(runtime, attempt, goal, assignment)
        digest = await loop.run()
    except Ended:
        digest = await _recorded_digest(runtime, goal, attempt.ref)
    except OutOfBudget as error:
        gaps = ("this subtask was not finished: the budget was used up",)
        digest = Digest(outcome="partial", answer=f"{error}; nobody was paid to report what was done", gaps=gaps)
    except (GaveUp, Rejected, Garbled) as error:
        reason = Blocker(reason="configuration", text=str(error)[:500]) if isinstance(error, Rejected) else None
        gaps = ("this subtask was not finished",)
        digest = Digest(outcome="failed", answer=str(error)[:1000], gaps=gaps, blocker=reason)
    return loop, _outcome(attempt.ref, goal, brief, workspace, digest)


async def _recorded_digest(runtime: Runtime, goal: Goal, ref: JobRef) -> Digest:
    """What came of a subtask whose recording ends early: it was cut, buried, or out of budget."""
    digests = await runtime.store.digests(replayed(goal), ref.round)
    return digests.get(ref.job) or Digest(outcome="failed", answer="the recording has nothing of this subtask")


def _missing(digest: Digest, workspace: Workspace) -> list[str]:
    problems = []
    for path in digest.artifacts:
        try:
            if not workspace.readable(path).is_file():
                problems.append(f"you list {path!r} as an artifact, but there is no such file")
        except OutsideWorkspace as error:
            problems.append(str(error))
    return problems


def _outcome(ref: JobRef, goal: Goal, brief: Brief, workspace: Workspace, digest: Digest) -> Outcome:
    layer = workspace.written(ref.round, ref.job)
    crash_point("after_artifacts_before_finish")
    state = JobState.FAILED if digest.outcome == "failed" else JobState.DONE
    said = {
        "subtask": ref.job,
        "outcome": digest.outcome,
        "answer": digest.answer[:300],
        "artifacts": [file.path for file in layer if file.sha256],
    }
    follow = Follow(layer=layer, events=[("subtask.finished", "subagent", said)])
    if goal.version < LAYERED:
        # its verification may be done by a worker of the version before, which knows no layers
        follow = Follow(artifacts=layer, events=follow.events)
    elif brief.item and digest.outcome == "done" and layer:
        follow.closes = brief.item
    return Outcome(state=state, result=digest.model_dump_json(), follow=follow)


def recorded(entries: list[Entry]) -> dict[str, Written]:
    """What recorded calls have done to files, by path; a model's word isn't asked."""
    files: dict[str, Written] = {}
    for entry in entries:
        if entry.kind == "result":
            files |= {path: Written.model_validate(at) for path, at in entry.body.get("files", {}).items()}
    return files
