"""The sub-agent: one brief in, one digest out, and the files it wrote."""

from __future__ import annotations

import asyncio
import json

from config.crashpoints import crash_point
from pursuit.models import Artifact, Blocker, Brief, Digest, Entry, Goal, JobRef
from pursuit.state import JobState
from pursuit.store import Attempt, Follow
from worker.files.workspace import OutsideWorkspace, Workspace
from worker.llm.model import Garbled, Rejected
from worker.prompts import fence, prompt
from worker.roles.agent import Assignment, GaveUp, Loop, OutOfBudget
from worker.roles.outcome import Outcome
from worker.runtime import Runtime

#: tools that each sub-agent has, whatever its brief names
ALWAYS = ("ask_person", "read_output")


async def carry_out(runtime: Runtime, attempt: Attempt, goal: Goal) -> tuple[Loop[Digest], Outcome]:
    """Works on the brief until its digest is in. What the model can't do becomes a failed digest."""
    brief = Brief.model_validate_json(attempt.brief)
    workspace = runtime.workspace(goal)
    scope = brief.write_scope or (f"subtasks/{attempt.ref.job}",)
    wanted = set(brief.tools)
    model = runtime.models.of(goal.models.subagent, "subagent")
    data = {
        "subtask": attempt.ref.job,
        "round": goal.round,
        "brief": {**brief.model_dump(), "write_scope": scope},
        "goal": {"objective": goal.contract.objective, "constraints": goal.contract.constraints},
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
        review=lambda digest: _missing(digest, workspace),
        budget=("work", "close"),
        seconds=brief.seconds or runtime.settings.subagent_seconds,
    )
    loop = Loop(runtime, attempt, assignment)
    try:
        digest = await loop.run()
    except OutOfBudget as error:
        gaps = ("this subtask was not finished: the budget was used up",)
        digest = Digest(outcome="partial", answer=f"{error}; nobody was paid to report what was done", gaps=gaps)
    except (GaveUp, Rejected, Garbled) as error:
        reason = Blocker(reason="configuration", text=str(error)[:500]) if isinstance(error, Rejected) else None
        gaps = ("this subtask was not finished",)
        digest = Digest(outcome="failed", answer=str(error)[:1000], gaps=gaps, blocker=reason)
    return loop, await _outcome(runtime, attempt.ref, workspace, digest, loop.entries)


def _missing(digest: Digest, workspace: Workspace) -> list[str]:
    problems = []
    for path in digest.artifacts:
        try:
            if not workspace.readable(path).is_file():
                problems.append(f"you list {path!r} as an artifact, but there is no such file")
        except OutsideWorkspace as error:
            problems.append(str(error))
    return problems


async def _outcome(
    runtime: Runtime, ref: JobRef, workspace: Workspace, digest: Digest, entries: list[Entry]
) -> Outcome:
    artifacts = await asyncio.to_thread(_collect, runtime, ref, workspace, written(entries))
    crash_point("after_artifacts_before_finish")
    state = JobState.FAILED if digest.outcome == "failed" else JobState.DONE
    said = {
        "subtask": ref.job,
        "outcome": digest.outcome,
        "answer": digest.answer[:300],
        "artifacts": [artifact.path for artifact in artifacts],
    }
    return Outcome(
        state=state,
        result=digest.model_dump_json(),
        follow=Follow(artifacts=artifacts, events=[("subtask.finished", "subagent", said)]),
    )


def written(entries: list[Entry]) -> list[str]:
    """The paths that tools wrote, by their own results; a model's word isn't asked."""
    paths: dict[str, None] = {}
    for entry in entries:
        if entry.kind == "result" and entry.body["ok"] and entry.body["text"].startswith('{"written"'):
            paths[json.loads(entry.body["text"])["written"]] = None
    return list(paths)


def _collect(runtime: Runtime, ref: JobRef, workspace: Workspace, paths: list[str]) -> list[Artifact]:
    found = []
    for path in paths:
        real = workspace.readable(path)
        if real.is_file():
            sha256, size = runtime.blobs.put_file(real)
            found.append(Artifact(path=path, sha256=sha256, size=size, round=ref.round, subtask=ref.job))
    return found
