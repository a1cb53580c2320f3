"""The verifier: layers merged, checks executed, then judges, then people; then a verdict, and the engine's decision."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from datetime import UTC, datetime

from config.crashpoints import crash_point
from pursuit.contract import Contract, HumanCheck
from pursuit.models import Blocker, Digest, Evidence, Finding, Goal, JobRef, Question, Streak, Verdict, question_id
from pursuit.round import Ask, Block, Complete, Decision, NextRound, WaitFor, advance, decide
from pursuit.state import JobState, Reason
from pursuit.store import Attempt, Follow
from pursuit.tree import Merged, fingerprint, listed, merge
from worker.files.branches import commit_round
from worker.files.states import committed, tidy
from worker.recording import verdict_of
from worker.roles.checks import ground_of, run_checks
from worker.roles.closing import closing_report
from worker.roles.judge import Judged, judge
from worker.roles.outcome import Outcome
from worker.roles.view import STOP, stalled_question
from worker.runtime import Runtime
from worker.tools.registry import NeedsAnswer

#: characters of a check's output that are shown with the goal; the round has more
EVIDENCE_SHOWN = 600
SIGNED = ("yes", "approve", "approved", "sign", "signed", "ok", "accept", "accepted", "met")


async def verify_round(runtime: Runtime, attempt: Attempt, goal: Goal) -> tuple[Judged | None, Outcome]:
    """Finds what holds and decides what happens next. Raises what the judge's loop raises, and NeedsAnswer."""
    contract, outside = await verdict_of(runtime.store, goal)
    if contract:
        contract = contract.model_copy(update={"revision": goal.contract.revision})
        goal = goal.model_copy(update={"contract": contract})
    layers = await runtime.store.layers(goal.id)
    before = await committed(runtime.store, runtime.blobs, goal)
    merged = merge(before, layers, goal.contract.boundaries)
    workspace = await runtime.workspace_of(goal, merged.tree)
    state = fingerprint(merged.tree)
    evidence = await run_checks(goal.contract, ground_of(runtime, goal, workspace), known=outside)
    crash_point("after_checks_before_judge")
    findings = {e.criterion: _executed(e) for e in evidence}
    judged: Judged | None = None
    asked = [name for name, c in goal.contract.named() if c.check.kind == "judge"]
    findings |= {f.criterion: f for f in goal.findings if f.criterion in asked and still_met(goal, f, state)}
    asked = [name for name in asked if name not in findings]
    if asked and all(e.passed for e in evidence):
        judged = await judge(runtime, attempt, goal, workspace, asked, evidence)
        findings |= judged.findings
    else:
        # no model is paid to judge what executed checks have already sent back
        why = "not judged while executed checks fail"
        findings |= {name: Finding(criterion=name, status="cannot_tell", why=why) for name in asked}
    signed = await _sign(runtime, goal, findings, state, outside)
    findings |= {e.criterion: _executed(e) for e in signed}
    blob = await asyncio.to_thread(runtime.blobs.put_text, listed(merged.tree), durable=True)
    blocker = common_blocker(await runtime.store.digests(goal.id, goal.round), list(findings.values()))
    revision = goal.contract.revision
    verdict = Verdict(
        revision=revision,
        findings=tuple(
            findings[name].model_copy(update={"revision": revision, "state": state})
            for name in goal.contract.criterion_ids()
        ),
        evidence=(*evidence, *signed),
        blocker=blocker,
        conflicts=(*merged.conflicts, *await commit_round(runtime, goal, merged.tree)),
        state=state,
        tree=blob,
    )
    # read again: the judge's own calls and late ones have been counted meanwhile, and a person may have amended it
    goal = await runtime.store.goal(goal.id)
    artifacts = {path: file.sha256 for path, file in merged.tree.items()}
    streak = advance(
        goal.streak,
        verdict,
        artifacts=artifacts,
        blocker=blocker,
        closed=goal.items.closed,
        began={path: file.sha256 for path, file in before.items()},
    )
    decision = decide(goal, verdict, streak)
    outcome = _outcome(goal, verdict, streak, decision)
    # who is late may still work in the layer of the round before
    last = goal.round + 1 if isinstance(decision, Complete) else goal.round - 1
    await asyncio.to_thread(tidy, runtime.settings.workspace(goal.id), last)
    _commit(outcome.follow, merged, list(layers))
    if isinstance(decision, Block) and decision.reason is Reason.BUDGET:
        outcome.follow.set["closing"] = await closing_report(runtime, attempt, goal)
    return judged, outcome


def still_met(goal: Goal, finding: Finding, state: str) -> bool:
    """Whether an earlier judgement still holds: neither the contract nor any file has changed since."""
    return finding.status == "met" and (finding.revision, finding.state) == (goal.contract.revision, state)


def _executed(evidence: Evidence) -> Finding:
    status = "met" if evidence.passed else "cannot_tell" if evidence.trouble else "not_met"
    return Finding.model_validate(
        {
            "criterion": evidence.criterion,
            "status": status,
            "why": evidence.output[-1500:],
            "next_proof": "" if evidence.passed else f"its {evidence.kind} check passes",
        }
    )


async def _sign(
    runtime: Runtime, goal: Goal, findings: dict[str, Finding], state: str, known: dict[str, Evidence]
) -> list[Evidence]:
    """What people say of the criteria that they sign. They are asked once all else is met: raises NeedsAnswer then."""
    people = [(name, c.check) for name, c in goal.contract.named() if isinstance(c.check, HumanCheck)]
    if not all(finding.status == "met" for finding in findings.values()):
        return [_unsigned(goal, name, "a person is asked once all else is met") for name, _ in people]
    asked = {q.id: q for q in await runtime.store.questions(goal.id)}
    signed = []
    for name, check in people:
        if name in known:
            signed.append(known[name])
            continue
        # for these files and this contract: whatever changes afterwards makes the signature stale
        inputs = hashlib.sha256(f"{name} {goal.contract.revision} {state}".encode()).hexdigest()[:16]
        question = question_id(goal.id, f"sign{inputs}")
        answered = asked.get(question)
        if answered is None or answered.answer is None:
            raise NeedsAnswer(question, _what_to_sign(goal.contract, name, check), ("yes", "no"), "sign_off")
        words = answered.answer.strip()
        passed = words.lower().rstrip(".!") in SIGNED
        said = "a person signed it" if passed else f"a person did not sign it: {words[:1_000]}"
        evidence = _unsigned(goal, name, said)
        signed.append(evidence.model_copy(update={"passed": passed, "inputs": inputs}))
    return signed


def _unsigned(goal: Goal, name: str, text: str) -> Evidence:
    return Evidence(
        criterion=name,
        kind="human",
        passed=False,
        output=text,
        seconds=0.0,
        revision=goal.contract.revision,
        at=datetime.now(UTC),
    )


def _what_to_sign(contract: Contract, name: str, check: HumanCheck) -> str:
    text = dict(contract.named())[name].text
    return f"All else is met. Do you sign off {name}: {text}?\n{check.question}".strip()


def common_blocker(digests: dict[str, Digest], findings: list[Finding]) -> Blocker | None:
    """The blocker that most sub-agents named, or else one that the verification found."""
    named = Counter((d.blocker.reason, d.blocker.text) for d in digests.values() if d.blocker)
    if not named:
        found = [f.blocker for f in findings if f.status == "blocked" and f.blocker]
        return found[0] if found else None
    (reason, text), _ = max(named.items(), key=lambda pair: (pair[1], pair[0]))
    return Blocker(reason=reason, text=text)


def _commit(follow: Follow, merged: Merged, layers: list[str]) -> None:
    follow.artifacts, follow.merged = merged.changed, layers


def _outcome(goal: Goal, verdict: Verdict, streak: Streak, decision: Decision) -> Outcome:
    said = {
        "round": goal.round,
        "revision": verdict.revision,
        "met": list(verdict.met),
        "criteria": {f.criterion: f.status for f in verdict.findings},
        "conflicts": list(verdict.conflicts[:20]),
        "decision": decision.model_dump(),
    }
    shown = [e.model_copy(update={"output": e.output[-EVIDENCE_SHOWN:]}) for e in verdict.evidence]
    follow = Follow(
        set={
            "findings": json.dumps([f.model_dump(mode="json") for f in verdict.findings]),
            "evidence": json.dumps([e.model_dump(mode="json") for e in shown]),
            "state": verdict.state,
            "streak": streak.model_dump_json(),
        },
        events=[("round.verified", "verifier", said)],
    )
    plan = JobRef.of(goal.id, goal.round + 1, "plan")
    following: JobRef | None = None
    otherwise: JobRef | None = None
    match decision:
        case Complete():
            follow.status, follow.reason, follow.detail = "completed", Reason.MET, "every criterion is met"
            follow.revision, follow.otherwise, otherwise = verdict.revision, (plan.round, plan), plan
        case Block(reason=reason, detail=detail):
            follow.status, follow.reason, follow.detail = "blocked", reason, detail[:2000]
        case _:
            following = plan
            follow.round, follow.jobs = plan.round, [(plan, None)]
    match decision:
        case WaitFor(wait=wait):
            follow.set |= {"wait": wait.model_copy(update={"by": "model"}).model_dump_json(), "wait_since": ""}
        case Ask(question=text):
            following, follow.ask = None, _engine_question(goal, plan, text)
        case NextRound() | Complete() | Block():
            pass
    result = {"verdict": verdict.model_dump(mode="json"), "decision": decision.model_dump(mode="json")}
    return Outcome(state=JobState.DONE, result=json.dumps(result), follow=follow, next=following, otherwise=otherwise)


def _engine_question(goal: Goal, plan: JobRef, text: str) -> Question:
    return Question(
        id=stalled_question(goal.id, goal.round),
        goal=goal.id,
        job=plan.job,
        text=text,
        options=("go on", STOP),
        asked_at=datetime.now(UTC),
    )
