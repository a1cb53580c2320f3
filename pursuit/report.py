"""The report on a goal, as data and as Markdown: what was met, by what evidence, what was done and what wasn't."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pursuit.contract import Criterion, Frozen
from pursuit.describe import now as sentence
from pursuit.models import (
    Artifact,
    Digest,
    Evidence,
    Finding,
    Goal,
    Items,
    Job,
    RoundRecord,
    Usage,
)
from pursuit.state import Status


class SubtaskLine(Frozen):
    """How one subtask ended."""

    id: str
    title: str
    outcome: str
    attempts: int
    steps: int
    seconds: float
    answer: str
    gaps: tuple[str, ...]


class CriterionLine(Frozen):
    """One criterion with the finding of the last verification, and the evidence it rests on."""

    id: str
    text: str
    check: str
    status: str
    why: str
    #: whether it was found for the contract and the files as they are at the end
    fresh: bool
    revision: int
    seen: tuple[str, ...] = ()
    dissent: tuple[str, ...] = ()
    evidence: Evidence | None = None


class Census(Frozen):
    """How many subtasks ended how, and what running side by side has saved.

    The critical path is, round by round, the plan, the slowest subtask and the verification: what would be left of the
    time and of the steps if everything else were free.
    """

    subtasks: int
    outcomes: dict[str, int]
    items: Items
    busy_seconds: float
    critical_path_seconds: float
    steps: int
    critical_path_steps: int
    criteria: dict[str, int]


class Report(Frozen):
    """All of a goal that somebody would want to read at its end."""

    id: str
    objective: str
    status: str
    #: how a completed goal ended: `met` by evidence, or `accepted` by a person with whatever gaps it has
    outcome: str | None
    reason: str | None
    summary: str
    #: the contract's revision that the criteria are of, who wrote them, and what people said with each amendment
    contract_revision: int
    criteria_by: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    #: forked from, or whose recorded answers it replays; then all figures are the recorded ones, and nothing was paid
    parent: dict[str, Any]
    submitted_at: datetime
    finished_at: datetime | None
    model: str
    criteria: tuple[CriterionLine, ...]
    subtasks: tuple[SubtaskLine, ...]
    census: Census
    decisions: tuple[str, ...]
    artifacts: tuple[Artifact, ...]
    usage: Usage
    not_done: tuple[str, ...]
    #: changes of the last round that were not taken
    conflicts: tuple[str, ...] = ()
    #: a model's closing words, where the budget was used up
    closing: str = ""


class RoundOfWork(Frozen):
    """What the report needs to know of one round."""

    record: RoundRecord
    jobs: dict[str, Job]
    digests: dict[str, Digest]


def compile_report(goal: Goal, rounds: list[RoundOfWork], artifacts: list[Artifact], model: str) -> Report:
    """The report, from what the store holds. Nothing in it is a model's word, except where it says so."""
    lines = [line for work in rounds for line in _subtasks(work)]
    outcomes: dict[str, int] = {}
    for line in lines:
        outcomes[line.outcome] = outcomes.get(line.outcome, 0) + 1
    findings = {f.criterion: f for f in goal.findings}
    proofs = {e.criterion: e for e in goal.evidence}
    criteria = [
        _criterion(goal, name, criterion, findings.get(name), proofs.get(name))
        for name, criterion in goal.contract.named()
    ]
    unmet = [
        f"{c.id} {c.text}: {c.status}" + ("" if c.fresh else ", and found before the last change")
        for c in criteria
        if c.status != "met" or not c.fresh
    ]
    open_items = goal.items.total - goal.items.closed
    unmet += [f"{open_items} of {goal.items.total} items are open"] if open_items else []
    verified = [work.record.verdict for work in rounds if work.record.verdict]
    last = rounds[-1].record.number if rounds else 0
    gaps = [f"{line.id} {line.title}: {gap}" for line in lines if line.id.startswith(f"r{last}-") for gap in line.gaps]
    return Report(
        id=goal.id,
        objective=goal.contract.objective,
        status=goal.status,
        outcome=goal.reason if goal.status is Status.COMPLETED else None,
        reason=goal.reason,
        summary=sentence(goal),
        contract_revision=goal.contract.revision,
        criteria_by=goal.contract.author,
        notes=goal.contract.notes,
        warnings=tuple(goal.contract.warnings()),
        parent={name: value for name, value in goal.parent.items() if name != "history"},
        submitted_at=goal.created_at,
        finished_at=goal.finished_at,
        model=model,
        criteria=tuple(criteria),
        subtasks=tuple(lines),
        census=Census(
            subtasks=len(lines),
            outcomes=outcomes,
            items=goal.items,
            busy_seconds=round(sum(line.seconds for line in lines), 3),
            critical_path_seconds=round(sum(_longest(work, _seconds) for work in rounds), 3),
            steps=sum(job.steps for work in rounds for job in work.jobs.values()),
            critical_path_steps=int(sum(_longest(work, lambda job: job.steps) for work in rounds)),
            criteria=dict(Counter(c.status for c in criteria)),
        ),
        decisions=tuple(_decision(work.record) for work in rounds if work.record.decision),
        artifacts=tuple(artifacts),
        usage=goal.usage,
        not_done=tuple(unmet + gaps),
        conflicts=verified[-1].conflicts if verified else (),
        closing=goal.closing,
    )


def _criterion(
    goal: Goal, name: str, criterion: Criterion, finding: Finding | None, evidence: Evidence | None
) -> CriterionLine:
    return CriterionLine(
        id=name,
        text=criterion.text,
        check=criterion.check.kind,
        status=finding.status if finding else "not_verified",
        why=finding.why if finding else "",
        fresh=finding is not None and finding.fresh(goal.contract.revision, goal.state),
        revision=finding.revision if finding else 0,
        seen=finding.seen if finding else (),
        dissent=finding.dissent if finding else (),
        evidence=evidence,
    )


def _subtasks(work: RoundOfWork) -> list[SubtaskLine]:
    titles = work.record.plan.titles if work.record.plan else ()
    lines = []
    subtasks = [job for job in work.jobs.values() if job.kind == "subtask"]
    for place, job in enumerate(subtasks):
        digest = work.digests.get(job.id)
        lines.append(
            SubtaskLine(
                id=job.id,
                title=titles[place] if place < len(titles) else "",
                outcome=digest.outcome if digest else str(job.state),
                attempts=job.attempt,
                steps=job.steps,
                seconds=_seconds(job),
                answer=digest.answer if digest else "",
                gaps=digest.gaps if digest else (),
            )
        )
    return lines


def _seconds(job: Job) -> float:
    return round((job.ended - job.started) / 1000, 3) if job.started and job.ended else 0.0


def _longest(work: RoundOfWork, measure: Callable[[Job], float]) -> float:
    """A round's part of the critical path: plan, slowest subtask, verification."""
    longest = {"plan": 0.0, "subtask": 0.0, "verify": 0.0}
    for job in work.jobs.values():
        longest[job.kind] = max(longest[job.kind], measure(job))
    return sum(longest.values())


def _decision(record: RoundRecord) -> str:
    decision = record.decision or {}
    met = len(record.verdict.met) if record.verdict else 0
    total = len(record.verdict.findings) if record.verdict else 0
    text = f"round {record.number}: {met} of {total} criteria met, {decision.get('kind')}"
    return f"{text} ({decision['detail']})" if decision.get("detail") else text


_BY = {"person": "a person", "planner": "the planner, as a draft", "engine": "nobody: a judge finds the objective met"}


def _origin(report: Report) -> list[str]:
    if report.parent.get("replay"):
        return [f"A replay of `{report.parent['goal']}`: its recorded answers, and nothing was paid."]
    if report.parent:
        return [f"Forked from round {report.parent['round']} of `{report.parent['goal']}`."]
    return []


def _proof(line: CriterionLine) -> str:
    """What a finding rests on, in a few words."""
    if line.evidence is None:
        return _cell("seen: " + ", ".join(line.seen)) if line.seen else _cell(line.why)
    word = line.evidence.trouble or ("passed" if line.evidence.passed else "failed")
    return _cell(f"{word} at {line.evidence.at:%Y-%m-%d %H:%M:%S}: {line.evidence.output}")


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines())


def markdown(report: Report) -> str:
    """The report for people."""
    used = report.usage
    lines = [
        f"# {_line(report.objective, 100)}",
        "",
        f"**{report.status}**{f' ({report.reason})' if report.reason else ''}: {report.summary}",
        "",
        f"Goal `{report.id}`, model: {report.model}. {used.rounds} rounds, {report.census.subtasks} subtasks, "
        f"{used.steps} steps, {used.tokens_in} + {used.tokens_out} tokens, "
        f"${used.usd:.4f}, {used.seconds:.0f} s running.",
        *_origin(report),
        "",
        *(
            ["## Closing report", "", "By a model, when the budget was used up:", "", _quoted(report.closing), ""]
            if report.closing
            else []
        ),
        "## Criteria",
        "",
        f"Contract revision {report.contract_revision}, criteria by {_BY[report.criteria_by]}.",
        *(f"Note: {_line(text)}" for text in (*report.warnings, *report.notes)),
        "",
        "| | criterion | check | finding | evidence |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {c.id} | {_cell(c.text)} | {c.check} | {c.status}{'' if c.fresh else ' (stale)'} | {_proof(c)} |"
            for c in report.criteria
        ),
        "",
        *(f"- {c.id}, dissent: {_line(text)}" for c in report.criteria for text in c.dissent),
        "## Not done",
        "",
        *([f"- {_line(text)}" for text in report.not_done] or ["Nothing: every criterion is met, no gaps named."]),
        *(f"- not taken: {_line(text)}" for text in report.conflicts),
        "",
        "## Rounds",
        "",
        *(f"- {_line(text)}" for text in report.decisions),
        "",
        f"Sub-agents worked {report.census.busy_seconds:g} s in all; one after the other rounds took "
        f"{report.census.critical_path_seconds:g} s (slowest of each round), {report.census.critical_path_steps} of "
        f"{report.census.steps} steps.",
        "",
        "## Artifacts",
        "",
        *(f"- `{a.path}` ({a.size} bytes, by {a.subtask}, sha256 {a.sha256[:12]}…)" for a in report.artifacts),
        "",
        "## Subtasks",
        "",
        "| | title | outcome | steps | s | answer |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {s.id} | {_cell(s.title)} | {s.outcome} | {s.steps} | {s.seconds} | {_cell(s.answer)} |"
            for s in report.subtasks
        ),
        "",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return _line(text, 120).replace("|", "\\|")


def _line(text: str, most: int = 300) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"
