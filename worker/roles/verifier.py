"""The verifier: executable checks first, then the judge; from both a verdict, and the engine's decision."""

from __future__ import annotations

import json
from collections import Counter

from config.crashpoints import crash_point
from pursuit.models import Blocker, Digest, Evidence, Finding, Goal, JobRef, Judgement, Streak, Verdict
from pursuit.round import Block, Complete, Decision, NextRound, advance, decide
from pursuit.state import JobState, Reason
from pursuit.store import Attempt, Follow
from worker.prompts import fence, prompt
from worker.roles.agent import Assignment, Loop, OutOfBudget
from worker.roles.checks import run_checks
from worker.roles.closing import closing_report
from worker.roles.outcome import Outcome
from worker.roles.view import FILES_SHOWN, contract_view
from worker.runtime import Runtime
from worker.tools import Effect

STEPS = 30


async def verify_round(runtime: Runtime, attempt: Attempt, goal: Goal) -> tuple[Loop[Judgement] | None, Outcome]:
    """Finds what holds and decides what happens next. Raises what the judge's loop raises."""
    evidence = await run_checks(goal.contract, runtime.workspace(goal), runtime.sandbox)
    crash_point("after_checks_before_judge")
    findings = {e.criterion: _executed(e) for e in evidence}
    asked = [name for name in goal.contract.criterion_ids() if name not in findings]
    loop: Loop[Judgement] | None = None
    if asked and all(e.passed for e in evidence):
        loop = await _judge(runtime, attempt, goal, asked, evidence)
        try:
            findings |= {f.criterion: f for f in (await loop.run()).findings}
        except OutOfBudget as error:
            findings |= {name: Finding(criterion=name, status="cannot_tell", why=str(error)) for name in asked}
    else:
        # no model is paid to judge what executed checks have already sent back
        why = "not judged while executed checks fail"
        findings |= {name: Finding(criterion=name, status="cannot_tell", why=why) for name in asked}
    blocker = _common_blocker(await runtime.store.digests(goal.id, goal.round))
    verdict = Verdict(
        revision=goal.contract.revision,
        findings=tuple(findings[name] for name in goal.contract.criterion_ids()),
        evidence=tuple(evidence),
        blocker=blocker,
    )
    # read again: the judge's own calls and late ones have been counted meanwhile
    goal = await runtime.store.goal(goal.id)
    artifacts = {a.path: a.sha256 for a in await runtime.store.artifacts(goal.id)}
    streak = advance(goal.streak, verdict, artifacts=artifacts, blocker=blocker)
    decision = decide(goal, verdict, streak)
    outcome = _outcome(goal, verdict, streak, decision)
    if isinstance(decision, Block) and decision.reason is Reason.BUDGET:
        outcome.follow.set["closing"] = await closing_report(runtime, attempt, goal)
    return loop, outcome


def _executed(evidence: Evidence) -> Finding:
    return Finding(
        criterion=evidence.criterion,
        status="met" if evidence.passed else "not_met",
        why=evidence.output[-1500:],
    )


async def _judge(
    runtime: Runtime, attempt: Attempt, goal: Goal, asked: list[str], evidence: list[Evidence]
) -> Loop[Judgement]:
    def review(judgement: Judgement) -> list[str]:
        named = Counter(f.criterion for f in judgement.findings)
        missing = [name for name in asked if named[name] != 1]
        strange = [name for name in named if name not in asked]
        return [f"exactly one finding is needed for {name}" for name in missing] + [
            f"{name!r} wasn't asked about" for name in strange
        ]

    model = runtime.models.of(goal.models.verifier, "verifier")
    artifacts = await runtime.store.artifacts(goal.id)
    data = {
        "contract": contract_view(goal.contract),
        "asked": asked,
        "evidence": [e.model_dump(mode="json") for e in evidence],
        "files": [{"path": a.path, "size": a.size} for a in artifacts[:FILES_SHOWN]],
        "files_total": len(artifacts),
    }
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
            runtime.workspace(goal),
            lambda tool: tool.effect is Effect.READ and tool.name not in ("ask_person", "read_digest"),
            window=model.profile.window,
        ),
        steps=STEPS,
        model=model,
        review=review,
        budget=("close",),
    )
    return Loop(runtime, attempt, assignment)


def _common_blocker(digests: dict[str, Digest]) -> Blocker | None:
    """The blocker that most sub-agents named."""
    named = Counter((d.blocker.reason, d.blocker.text) for d in digests.values() if d.blocker)
    if not named:
        return None
    (reason, text), _ = max(named.items(), key=lambda pair: (pair[1], pair[0]))
    return Blocker(reason=reason, text=text)


def _outcome(goal: Goal, verdict: Verdict, streak: Streak, decision: Decision) -> Outcome:
    said = {
        "round": goal.round,
        "met": list(verdict.met),
        "criteria": {f.criterion: f.status for f in verdict.findings},
        "decision": decision.model_dump(),
    }
    follow = Follow(
        set={
            "findings": json.dumps([f.model_dump() for f in verdict.findings]),
            "streak": streak.model_dump_json(),
        },
        events=[("round.verified", "verifier", said)],
    )
    following: JobRef | None = None
    match decision:
        case Complete():
            follow.status, follow.reason, follow.detail = "completed", Reason.MET, "every criterion is met"
        case NextRound(round=number):
            following = JobRef.of(goal.id, number, "plan")
            follow.round, follow.jobs = number, [(following, None)]
        case Block(reason=reason, detail=detail):
            follow.status, follow.reason, follow.detail = "blocked", reason, detail[:2000]
    result = {"verdict": verdict.model_dump(mode="json"), "decision": decision.model_dump()}
    return Outcome(state=JobState.DONE, result=json.dumps(result), follow=follow, next=following)
