"""What planner and verifier get to see of a goal: a view of fixed size, whatever the number of digests."""

from __future__ import annotations

from typing import Any

from pursuit.contract import Contract
from pursuit.models import (
    Digest,
    Goal,
    input_name,
    question_id,
)
from pursuit.store import Store

ROUNDS_SHOWN = 5
DIGESTS_SHOWN = 60
ANSWER_SHOWN = 400
#: digests in one group of those beyond, and characters of each of their answers
GROUP, FOLDED_ANSWER = 20, 60
FILES_SHOWN = 150
GUIDANCE_SHOWN = 30
ITEMS_SHOWN = 100
EVIDENCE_SHOWN = 1_500
#: quiet rounds after which another model works, where one is set
OTHER_MODEL = 2
#: what a planner is told after so many rounds without progress
ADVICE = {
    1: "The last round moved nothing. Cut the work in another way than before; do not repeat what was tried.",
    2: "Two rounds moved nothing. Question what was assumed: look at the evidence itself and begin somewhere else.",
    3: "Three rounds moved nothing, and a person was asked; see `answers`. One more such round stops the goal.",
}


#: the answer that ends a goal which gets nowhere
STOP = "stop"


def stalled_question(goal: str, round_number: int) -> str:
    """The engine's question after quiet rounds, by the round that was verified last."""
    return question_id(goal, f"stalled{round_number}")


def contract_view(contract: Contract) -> dict[str, Any]:
    """The contract with its criteria by id."""
    return {
        "revision": contract.revision,
        "objective": contract.objective,
        "author_of_criteria": contract.author,
        "criteria": [
            {"id": name, "text": c.text, "check": c.check.model_dump(exclude_none=True)} for name, c in contract.named()
        ],
        "constraints": list(contract.constraints),
        "boundaries": list(contract.boundaries),
        "notes": list(contract.notes),
    }


def model_of(goal: Goal, own: str) -> str:
    """Who plans or works: the role's own model, or after quiet rounds another one, where one is set."""
    return goal.models.fallback if goal.models.fallback and goal.streak.quiet >= OTHER_MODEL else own


async def planner_view(store: Store, goal: Goal) -> dict[str, Any]:
    """Contract, state of the criteria, what was tried, what people said, what there is."""
    earlier = [await _round_view(store, goal.id, n) for n in range(max(1, goal.round - ROUNDS_SHOWN), goal.round)]
    digests = await store.digests(goal.id, goal.round - 1) if goal.round > 1 else {}
    artifacts = await store.artifacts(goal.id)
    items = await store.open_items(goal.id)
    late = await store.late(goal.id)
    last = await store.round(goal.id, goal.round - 1) if goal.round > 1 else None
    known = set(goal.contract.criterion_ids())
    return {
        "contract": contract_view(goal.contract),
        "round": goal.round,
        "findings": [
            f.model_dump(exclude={"revision", "state"}, exclude_defaults=True)
            | {"stale": not f.fresh(goal.contract.revision, goal.state)}
            for f in goal.findings
            if f.criterion in known
        ],
        "evidence": [
            {"criterion": e.criterion, "passed": e.passed, "output": e.output[-EVIDENCE_SHOWN:]}
            for e in goal.evidence
            if e.criterion in known
        ],
        "conflicts": list(last.verdict.conflicts[:30]) if last and last.verdict else [],
        "before_the_fork": goal.parent.get("history", []),
        "earlier_rounds": earlier,
        "last_digests": digest_view(digests),
        "late_digests": digest_view(late) if late else None,
        "open_items": {
            "total": goal.items.total,
            "open": goal.items.total - goal.items.closed,
            "first": [item[:200] for item in items[:ITEMS_SHOWN]],
        },
        "quiet_rounds": goal.streak.quiet,
        "advice": ADVICE.get(min(goal.streak.quiet, 3), ""),
        "answers": [
            {"question": q.text, "answer": q.answer} for q in await store.questions(goal.id) if q.answer is not None
        ],
        "guidance": [
            said.text
            for said in (await store.guidance(goal.id))[-GUIDANCE_SHOWN:]
            if not said.subtask and not said.amended
        ],
        "inputs": [input_name(item) if item.edit else f"inputs/{input_name(item)}" for item in goal.inputs],
        "files": [{"path": a.path, "size": a.size} for a in artifacts[:FILES_SHOWN]],
        "files_total": len(artifacts),
        "budget_warning": f"three quarters of the budget of {goal.warned} are used: converge" if goal.warned else None,
        "left": {
            "rounds": goal.budget.rounds - goal.round + 1,
            "steps": goal.budget.steps - goal.usage.steps,
            "subagents_in_a_round": goal.budget.subagents,
        },
    }


def digest_view(digests: dict[str, Digest]) -> dict[str, Any]:
    """Digests cut to a fixed size; those that aren't plainly done come first."""
    ordered = sorted(digests.items(), key=lambda pair: (pair[1].outcome == "done", pair[0]))
    counts: dict[str, int] = {}
    for digest in digests.values():
        counts[digest.outcome] = counts.get(digest.outcome, 0) + 1
    return {
        "counts": counts,
        "digests": [
            {
                "subtask": job,
                "outcome": digest.outcome,
                "answer": digest.answer[:ANSWER_SHOWN],
                "gaps": list(digest.gaps)[:3],
                "blocker": digest.blocker.model_dump() if digest.blocker else None,
            }
            for job, digest in ordered[:DIGESTS_SHOWN]
        ],
        "folded": _folded(ordered[DIGESTS_SHOWN:]),
    }


def _folded(rest: list[tuple[str, Digest]]) -> list[dict[str, Any]]:
    """The digests beyond those shown, in groups: who, how they ended, and the beginning of each answer.

    Whole ones are read with read_digest.
    """
    groups = []
    for place in range(0, len(rest), GROUP):
        group = rest[place : place + GROUP]
        groups.append(
            {
                "outcome": sorted({digest.outcome for _, digest in group}),
                "answers": {job: digest.answer[:FOLDED_ANSWER] for job, digest in group},
            }
        )
    return groups


async def _round_view(store: Store, goal: str, number: int) -> dict[str, Any]:
    record = await store.round(goal, number)
    return {
        "round": number,
        "approach": record.plan.approach if record.plan else "",
        "subtasks": list(record.plan.titles[:20]) if record.plan else [],
        "ended": record.subtasks,
        "met": list(record.verdict.met) if record.verdict else [],
        "unmet": {f.criterion: f.why[:300] for f in record.verdict.findings if f.status != "met"}
        if record.verdict
        else {},
        "decision": record.decision,
    }
