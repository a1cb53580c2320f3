"""The heart: what happens after a round. Pure; the first rule that applies wins."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

from pursuit.budget import used_up
from pursuit.contract import Frozen, Wait
from pursuit.models import Blocker, Evidence, Goal, Streak, Verdict
from pursuit.state import Reason

#: Quiet rounds in a row: after the first the planner is told to cut the work otherwise, after the second another model
#: works, where one is set, after the third a person is asked, and after the fourth the goal is `blocked: stalled`.
ASK_AFTER, QUIET_ROUNDS = 3, 4
#: Rounds in a row that only changed files that were there already, without meeting a criterion: a file written anew
#: with another time stamp in it would otherwise keep a goal going for ever.
BARREN_ROUNDS = 8
#: Rounds in a row with the same blocker after which a goal is `blocked: repeated_blocker`.
SAME_BLOCKER = 3
#: States of the files that are remembered, so that going back and forth between them is no progress.
KNOWN = 50


class Complete(Frozen):
    """Every criterion is met by fresh evidence."""

    kind: Literal["complete"] = "complete"


class NextRound(Frozen):
    """Plan another round."""

    kind: Literal["continue"] = "continue"
    round: int


class WaitFor(Frozen):
    """Plan another round when something has come about; until then nothing is spent."""

    kind: Literal["wait"] = "wait"
    round: int
    wait: Wait


class Ask(Frozen):
    """Plan another round when a person has said how to go on."""

    kind: Literal["ask"] = "ask"
    round: int
    question: str


class Block(Frozen):
    """Stop, at no cost, until a person acts."""

    kind: Literal["block"] = "block"
    reason: Reason
    detail: str


Decision = Complete | NextRound | WaitFor | Ask | Block


def decide(goal: Goal, verdict: Verdict, streak: Streak) -> Decision:
    """What the engine does after a verified round.

    Wishes of a person (pause, cancel) are no business of this table: the script that records the decision
    honours them, so that one which arrives in between can't be missed.
    """
    if verdict.revision == goal.contract.revision and verdict.all_met:
        return Complete()
    impossible = [f for f in verdict.findings if f.status == "impossible"]
    if impossible:
        return Block(reason=Reason.IMPOSSIBLE, detail=impossible[0].why or impossible[0].criterion)
    if unavailable := _troubled(verdict, "unavailable"):
        return Block(reason=Reason.CONFIGURATION, detail=f"{unavailable.criterion}: {unavailable.output[:1000]}")
    if streak.same_blocker >= SAME_BLOCKER:
        return Block(reason=Reason.REPEATED_BLOCKER, detail=streak.blocker)
    spent = used_up(goal.budget, goal.usage, rounds=goal.round)
    if spent:
        return Block(reason=Reason.BUDGET, detail=f"{spent}; resume with more to go on")
    following = goal.round + 1
    if (wait := waits(verdict)) is not None:
        return WaitFor(round=following, wait=wait)
    if streak.quiet >= QUIET_ROUNDS:
        return _stalled(verdict, f"{streak.quiet} rounds running brought no progress")
    if streak.barren >= BARREN_ROUNDS:
        return _stalled(verdict, f"{streak.barren} rounds running only changed files and met no criterion")
    if streak.quiet == ASK_AFTER:
        return Ask(round=following, question=_question(goal, verdict))
    return NextRound(round=following)


def waits(verdict: Verdict) -> Wait | None:
    """What is waited for, when nothing but waiting is left to do."""
    unmet = [f for f in verdict.findings if f.status != "met"]
    if unmet and all(f.status == "waiting" and f.wait for f in unmet):
        return unmet[0].wait
    return None


def _troubled(verdict: Verdict, kind: str) -> Evidence | None:
    return next((e for e in verdict.evidence if e.trouble == kind), None)


def _stalled(verdict: Verdict, text: str) -> Block:
    """A check that can't be carried out as it is written is the person's to mend, not the swarm's."""
    if broken := _troubled(verdict, "broken"):
        detail = f"{text}, and the check of {broken.criterion} can't be carried out: {broken.output[:1000]}"
        return Block(reason=Reason.CONFIGURATION, detail=detail)
    return Block(reason=Reason.STALLED, detail=text)


def _question(goal: Goal, verdict: Verdict) -> str:
    unmet = [f"{f.criterion} ({f.status}): {f.why[:200]}" for f in verdict.findings if f.status != "met"]
    lines = "\n".join(unmet[:10])
    return (
        f"{ASK_AFTER} rounds of {goal.contract.objective[:200]!r} brought no progress. Not met:\n{lines}\n"
        "What should be done otherwise? Your answer goes to the planner; one more such round stops the goal."
    )


def advance(
    streak: Streak,
    verdict: Verdict,
    *,
    artifacts: Mapping[str, str],
    blocker: Blocker | None,
    closed: int = 0,
    began: Mapping[str, str] = MappingProxyType({}),
) -> Streak:
    """The streak after one more round; `artifacts` are paths and their hashes, `closed` counts the items done.

    Where the counts begin, `began` is what there was before the round: a goal may begin with files.

    Progress is counted, not told: a criterion met for the first time, an item closed, a new artifact, a changed one.
    Only the first two and new artifacts count without limit; a state that was there before counts for nothing, so going
    back and forth is no progress. A blocker is the same one when its reason and text are. A round after which there is
    nothing to do but wait is neither quiet nor progress.
    """
    if not streak.known:
        first = _contents(began)
        streak = streak.model_copy(update={"known": (first,), "artifacts": first, "paths": _fingerprint(began)})
    ever = set(streak.ever) | set(streak.met)
    gained = bool(set(verdict.met) - ever) or closed > streak.closed
    paths, contents = _fingerprint(artifacts), _contents(artifacts)
    waiting = waits(verdict) is not None
    fresh = contents != streak.artifacts and contents not in streak.known
    quiet = streak.quiet if waiting else 0 if gained or fresh else streak.quiet + 1
    grown = paths != streak.paths and fresh
    barren = streak.barren if waiting else 0 if gained or grown else streak.barren + 1
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
        ever=tuple(sorted(ever | set(verdict.met))),
        known=(*(state for state in streak.known if state != contents), contents)[-KNOWN:],
        closed=max(closed, streak.closed),
    )


def _contents(artifacts: Mapping[str, str]) -> str:
    return _fingerprint(f"{path} {sha256}" for path, sha256 in artifacts.items())


def _fingerprint(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]
