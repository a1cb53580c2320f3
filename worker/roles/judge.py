"""The judge: another role, if set another model, which sees contract, files and raw evidence, never others' claims.

A panel is several of them, one after the other and without knowledge of each other; a majority must find it met.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import structlog

from pursuit.contract import Lenient
from pursuit.models import Entry, Evidence, Finding, Goal, Judgement
from pursuit.store import Attempt
from pursuit.tree import fingerprint
from worker.files.workspace import Workspace
from worker.llm.model import Garbled, Rejected
from worker.prompts import fence, prompt
from worker.recording import Ended
from worker.roles.agent import Assignment, GaveUp, Loop, OutOfBudget
from worker.roles.conversation import results_after
from worker.roles.replaying import converse
from worker.roles.view import FILES_SHOWN, contract_view
from worker.roles.waits import refused
from worker.runtime import Runtime
from worker.tools import Effect

log = structlog.get_logger(__name__)

STEPS = 30
#: what a judge hasn't got: other people's claims, and people
WITHOUT = ("ask_person", "read_digest")


class Judged(Lenient):
    """What judges found, and all they said."""

    findings: dict[str, Finding]
    entries: list[Entry]


async def judge(
    runtime: Runtime, attempt: Attempt, goal: Goal, workspace: Workspace, asked: list[str], evidence: list[Evidence]
) -> Judged:
    """Asks one judge, or each of a panel, which does without one that fails. Raises what a single one's loop raises."""
    names = goal.models.panel or (goal.models.verifier,)
    about = f"revision {goal.contract.revision}, files {fingerprint(workspace.tree)}"
    votes: list[dict[str, Finding]] = []
    entries: list[Entry] = []
    for number, name in enumerate(names, 1):
        part = f"judge {number} of {about}"
        try:
            loop = await _loop(runtime, attempt, goal, workspace, asked, evidence, name or goal.models.verifier, part)
        except Ended as error:
            votes.append({n: Finding(criterion=n, status="cannot_tell", why=str(error)) for n in asked})
            continue
        try:
            votes.append({f.criterion: f for f in (await loop.run()).findings})
        except OutOfBudget as error:
            unknown = [Finding(criterion=name, status="cannot_tell", why=str(error)) for name in asked]
            votes.append({f.criterion: f for f in unknown})
        except (GaveUp, Garbled, Rejected, Ended) as error:
            if len(names) == 1 and not isinstance(error, Ended):
                raise
            log.warning("a judge of the panel brought no verdict", goal=goal.id, judge=number, error=str(error))
            votes.append({})
        entries += loop.entries
    return Judged(findings={name: tally(name, votes) for name in asked}, entries=entries)


def tally(criterion: str, votes: Sequence[dict[str, Finding]]) -> Finding:
    """A panel's finding: met when more than half of all judges say so; who found otherwise is recorded."""
    unknown = Finding(criterion=criterion, status="cannot_tell", why="this judge brought no verdict")
    cast = [vote.get(criterion, unknown) for vote in votes]
    counts = Counter(finding.status for finding in cast)
    others = [pair for pair in counts.most_common() if pair[0] != "met"]
    status = "met" if counts["met"] * 2 > len(cast) else others[0][0]
    chosen = next(finding for finding in cast if finding.status == status)
    dissent = [
        f"judge {number}: {finding.status}: {finding.why[:300]}"
        for number, finding in enumerate(cast, 1)
        if finding.status != status
    ]
    return chosen.model_copy(update={"dissent": tuple(dissent)})


async def _loop(
    runtime: Runtime,
    attempt: Attempt,
    goal: Goal,
    workspace: Workspace,
    asked: list[str],
    evidence: list[Evidence],
    name: str,
    part: str,
) -> Loop[Judgement]:
    model = runtime.models.of(name, "verifier")
    files = list(workspace.tree.values())
    data = {
        "contract": contract_view(goal.contract),
        "asked": asked,
        "evidence": [e.model_dump(mode="json", exclude={"inputs"}) for e in evidence],
        "files": [{"path": f.path, "size": f.size} for f in files[:FILES_SHOWN]],
        "files_total": len(files),
    }
    shown = {e.criterion for e in evidence}
    assignment = Assignment(
        system=prompt("verifier"),
        user=fence("verification", data),
        submit="submit_verdict",
        submit_help="Hand in one finding for each criterion asked about.",
        result=Judgement,
        toolbox=runtime.toolbox(
            goal,
            await runtime.tools_for(goal),
            attempt.ref,
            workspace,
            lambda tool: tool.effect is Effect.READ and tool.name not in WITHOUT,
            window=model.profile.window,
        ),
        steps=STEPS,
        model=model,
        review=lambda judgement, entries: review(runtime, judgement, entries, asked, shown),
        budget=("close",),
        hears=False,
    )
    return await converse(runtime, attempt, goal, assignment, part=part)


def review(
    runtime: Runtime, judgement: Judgement, entries: Sequence[Entry], asked: list[str], shown: set[str]
) -> list[str]:
    """What is wrong with a judgement: criteria left out or invented, and `met` without anything looked at."""
    named = Counter(f.criterion for f in judgement.findings)
    found = [f"exactly one finding is needed for {name}" for name in asked if named[name] != 1]
    found += [f"{name!r} wasn't asked about" for name in named if name not in asked]
    read = looked_at(entries) | shown
    for finding in judgement.findings:
        if finding.status == "met" and not read & set(finding.seen):
            found.append(
                f"{finding.criterion} can't be `met` unseen: name in `seen` what you have read with a tool "
                "(its path or address), or a criterion with executed evidence"
            )
        if finding.status == "waiting":
            problems = refused(runtime, finding.wait) if finding.wait else ["say in `wait` what is waited for"]
            found += [f"{finding.criterion}: {problem}" for problem in problems]
    return found


def looked_at(entries: Sequence[Entry]) -> set[str]:
    """The paths and addresses whose content a reading tool has really brought; a listing shows names only."""
    seen: set[str] = set()
    for place, entry in enumerate(entries):
        if entry.kind != "answer":
            continue
        results = results_after(entries, place)
        for call in entry.body["calls"]:
            result = results.get(call["id"])
            if result is None or not result.body["ok"] or call["name"] == "list_files":
                continue
            arguments = _data(call["arguments"])
            seen |= {str(arguments[name]) for name in ("path", "url") if name in arguments}
            brought = _data(result.body["text"])
            for rows in (brought.get("files"), brought.get("matches")):
                if isinstance(rows, list):
                    seen |= {str(row["path"]) for row in rows if isinstance(row, dict) and "path" in row}
    return seen


def _data(text: str) -> dict[str, object]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
