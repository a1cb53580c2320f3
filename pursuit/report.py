"""The report on a goal, as data and as Markdown: what was met, by what evidence, what was done and what wasn't."""

from __future__ import annotations

from datetime import datetime

from pursuit.contract import Frozen
from pursuit.describe import now as sentence
from pursuit.models import (
    Artifact,
    Digest,
    Goal,
    Job,
    RoundRecord,
    Usage,
)


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
    """One criterion with the finding of the last verification."""

    id: str
    text: str
    check: str
    status: str
    why: str


class Census(Frozen):
    """How many subtasks ended how, and how much running side by side has saved."""

    subtasks: int
    outcomes: dict[str, int]
    busy_seconds: float
    critical_path_seconds: float


class Report(Frozen):
    """All of a goal that somebody would want to read at its end."""

    id: str
    objective: str
    status: str
    reason: str | None
    summary: str
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
    criteria = [
        CriterionLine(
            id=name,
            text=criterion.text,
            check=criterion.check.kind,
            status=findings[name].status if name in findings else "not_verified",
            why=findings[name].why if name in findings else "",
        )
        for name, criterion in zip(goal.contract.criterion_ids(), goal.contract.criteria, strict=True)
    ]
    unmet = [f"{c.id} {c.text}: {c.status}" for c in criteria if c.status != "met"]
    last = rounds[-1].record.number if rounds else 0
    gaps = [f"{line.id} {line.title}: {gap}" for line in lines if line.id.startswith(f"r{last}-") for gap in line.gaps]
    return Report(
        id=goal.id,
        objective=goal.contract.objective,
        status=goal.status,
        reason=goal.reason,
        summary=sentence(goal),
        submitted_at=goal.created_at,
        finished_at=goal.finished_at,
        model=model,
        criteria=tuple(criteria),
        subtasks=tuple(lines),
        census=Census(
            subtasks=len(lines),
            outcomes=outcomes,
            busy_seconds=round(sum(line.seconds for line in lines), 3),
            critical_path_seconds=round(sum(_longest(work) for work in rounds), 3),
        ),
        decisions=tuple(_decision(work.record) for work in rounds if work.record.decision),
        artifacts=tuple(artifacts),
        usage=goal.usage,
        not_done=tuple(unmet + gaps),
        closing=goal.closing,
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


def _longest(work: RoundOfWork) -> float:
    """A round's part of the critical path: plan, slowest subtask, verification."""
    longest = {"plan": 0.0, "subtask": 0.0, "verify": 0.0}
    for job in work.jobs.values():
        longest[job.kind] = max(longest[job.kind], _seconds(job))
    return sum(longest.values())


def _decision(record: RoundRecord) -> str:
    decision = record.decision or {}
    met = len(record.verdict.met) if record.verdict else 0
    total = len(record.verdict.findings) if record.verdict else 0
    text = f"round {record.number}: {met} of {total} criteria met, {decision.get('kind')}"
    return f"{text} ({decision['detail']})" if decision.get("detail") else text


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
        "",
        *(
            ["## Closing report", "", "By a model, when the budget was used up:", "", _quoted(report.closing), ""]
            if report.closing
            else []
        ),
        "## Criteria",
        "",
        "| | criterion | check | finding |",
        "| --- | --- | --- | --- |",
        *(f"| {c.id} | {_cell(c.text)} | {c.check} | {c.status} |" for c in report.criteria),
        "",
        "## Not done",
        "",
        *([f"- {_line(text)}" for text in report.not_done] or ["Nothing: every criterion is met, no gaps named."]),
        "",
        "## Rounds",
        "",
        *(f"- {_line(text)}" for text in report.decisions),
        "",
        f"Sub-agents worked {report.census.busy_seconds:g} s in all; one after the other rounds took "
        f"{report.census.critical_path_seconds:g} s (slowest of each round).",
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
