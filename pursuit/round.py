"""The heart: what happens after a round. Pure; the first rule that applies wins."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

from pursuit.budget import used_up
from pursuit.models import Blocker, Frozen, Goal, Streak, Verdict
from pursuit.state import Reason

#: Quiet rounds in a row after which a goal is `blocked: stalled`.
QUIET_ROUNDS = 3
#: Rounds in a row that only changed files that were there already, without meeting a criterion: a file written anew
#: with another time stamp in it would otherwise keep a goal going for ever.
BARREN_ROUNDS = 8
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
    if streak.barren >= BARREN_ROUNDS:
        text = f"{streak.barren} rounds running only changed files and met no criterion"
        return Block(reason=Reason.STALLED, detail=text)
    return NextRound(round=goal.round + 1)


def advance(streak: Streak, verdict: Verdict, *, artifacts: Mapping[str, str], blocker: Blocker | None) -> Streak:
    """The streak after one more round; `artifacts` are paths and their hashes.

    Progress is counted, not told: a criterion newly met, a new artifact, a changed one. Only the first two count
    without limit. A blocker is the same one when its reason and text are.
    """
    gained = set(verdict.met) - set(streak.met)
    paths, contents = _fingerprint(artifacts), _fingerprint(f"{p} {h}" for p, h in artifacts.items())
    quiet = 0 if gained or contents != streak.artifacts else streak.quiet + 1
    barren = 0 if gained or paths != streak.paths else streak.barren + 1
    name = f"{blocker.reason}: {blocker.text}" if blocker else ""
    same = 0
    if name and not gained:
        same = streak.same_blocker + 1 if name == streak.blocker else 1
    return Streak(
        met=verdict.met,
        artifacts=contents,
        paths=paths,
        quiet=quiet,
        barren=barren,
        blocker=name,
        same_blocker=same,
    )


def _fingerprint(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]
