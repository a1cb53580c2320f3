"""The heart: what happens after a round. Pure; the first rule that applies wins."""

from __future__ import annotations

from typing import Literal

from pursuit.budget import used_up
from pursuit.models import Blocker, Frozen, Goal, Streak, Verdict
from pursuit.state import Reason

#: Quiet rounds in a row after which a goal is `blocked: stalled`.
QUIET_ROUNDS = 3
#: Rounds in a row with the same blocker after which a goal is `blocked: repeated_blocker`.
SAME_BLOCKER = 3


class Complete(Frozen):
    """Every criterion is met by fresh evidence."""

    kind: Literal["complete"] = "complete"


class NextRound(Frozen):
    """Plan another round."""

    kind: Literal["continue"] = "continue"
    round: int


class Block(Frozen):
    """Stop, at no cost, until a person acts."""

    kind: Literal["block"] = "block"
    reason: Reason
    detail: str


Decision = Complete | NextRound | Block


def decide(goal: Goal, verdict: Verdict, streak: Streak) -> Decision:
    """What the engine does after a verified round.

    Wishes of a person (pause, cancel) are no business of this table: the script that records the decision
    honours them, so that one which arrives in between can't be missed.
    """
    if verdict.all_met:
        return Complete()
    impossible = [f for f in verdict.findings if f.status == "impossible"]
    if impossible:
        return Block(reason=Reason.IMPOSSIBLE, detail=impossible[0].why or impossible[0].criterion)
    if streak.same_blocker >= SAME_BLOCKER:
        return Block(reason=Reason.REPEATED_BLOCKER, detail=streak.blocker)
    spent = used_up(goal.budget, goal.usage, rounds=goal.round)
    if spent:
        return Block(reason=Reason.BUDGET, detail=f"{spent}; resume with more to go on")
    if streak.quiet >= QUIET_ROUNDS:
        return Block(reason=Reason.STALLED, detail=f"{streak.quiet} rounds running brought no progress")
    return NextRound(round=goal.round + 1)


def advance(streak: Streak, verdict: Verdict, *, artifacts: str, blocker: Blocker | None) -> Streak:
    """The streak after one more round.

    Progress is counted, not told: a criterion newly met or changed artifacts. Landed work resets both counts;
    a blocker is the same one when its reason and text are.
    """
    gained = set(verdict.met) - set(streak.met)
    quiet = 0 if gained or artifacts != streak.artifacts else streak.quiet + 1
    name = f"{blocker.reason}: {blocker.text}" if blocker else ""
    same = 0
    if name and not gained:
        same = streak.same_blocker + 1 if name == streak.blocker else 1
    return Streak(met=verdict.met, artifacts=artifacts, quiet=quiet, blocker=name, same_blocker=same)
