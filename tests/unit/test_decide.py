"""The decision table, and what the engine counts across rounds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pursuit.models import Blocker, Budget, Contract, Criterion, Finding, Goal, Streak, Tally, Usage, Verdict
from pursuit.round import Block, Complete, NextRound, advance, decide
from pursuit.state import Reason


def make_goal(**over: Any) -> Goal:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    contract = Contract(revision=1, objective="Compare tools", criteria=(Criterion(text="a"),) * 2, constraints=())
    fields: dict[str, Any] = {
        "id": "goal_01", "version": 1, "status": "running", "reason": None, "detail": "", "wish": "run", "epoch": 1,
        "round": 2, "phase": "verifying", "revision": 1, "seq": 1, "contract": contract, "inputs": (),
        "budget": Budget(), "usage": Usage(), "labels": {}, "streak": Streak(), "findings": (), "tally": Tally(),
        "created_at": now, "updated_at": now, "started_at": now, "finished_at": None,
    }  # fmt: skip
    return Goal(**{**fields, **over})


def verdict(*statuses: str) -> Verdict:
    findings = [Finding(criterion=f"c{n}", status=s, why="seen") for n, s in enumerate(statuses, 1)]  # type: ignore[arg-type]
    return Verdict(revision=1, findings=tuple(findings))


@pytest.mark.parametrize(
    ("over", "found", "streak", "expected"),
    [
        ({}, ("met", "met"), {}, Complete()),
        ({"usage": Usage(steps=4000)}, ("met", "met"), {"quiet": 9}, Complete()),
        ({}, ("met", "not_met"), {}, NextRound(round=3)),
        ({}, ("met", "cannot_tell"), {}, NextRound(round=3)),
        ({}, ("impossible", "met"), {}, Block(reason=Reason.IMPOSSIBLE, detail="seen")),
        (
            {},
            ("not_met",),
            {"same_blocker": 3, "blocker": "x: y"},
            Block(reason=Reason.REPEATED_BLOCKER, detail="x: y"),
        ),
        (
            {"budget": Budget(rounds=2)},
            ("not_met",),
            {},
            Block(reason=Reason.BUDGET, detail="all 2 rounds are used; resume with more to go on"),
        ),
        (
            {"budget": Budget(tokens=10), "usage": Usage(tokens_in=8, tokens_out=2)},
            ("not_met",),
            {},
            Block(reason=Reason.BUDGET, detail="all 10 tokens are used; resume with more to go on"),
        ),
        (
            {"budget": Budget(wall_seconds=60), "usage": Usage(seconds=61)},
            ("not_met",),
            {},
            Block(reason=Reason.BUDGET, detail="all 60 seconds of wall-clock are used; resume with more to go on"),
        ),
        (
            {},
            ("not_met",),
            {"quiet": 3},
            Block(reason=Reason.STALLED, detail="3 rounds running brought no progress"),
        ),
        (
            {},
            ("not_met",),
            {"barren": 8},
            Block(reason=Reason.STALLED, detail="8 rounds running only changed files and met no criterion"),
        ),
    ],
)
def test_the_first_rule_that_applies_wins(over: Any, found: Any, streak: Any, expected: Any) -> None:
    assert decide(make_goal(**over), verdict(*found), Streak(**streak)) == expected


STATUS = st.sampled_from(["met", "not_met", "cannot_tell", "blocked", "impossible"])


@given(st.lists(STATUS, max_size=6), st.integers(0, 9), st.integers(1, 30), st.integers(0, 5000))
def test_only_a_verdict_with_every_criterion_met_completes(
    found: list[str], quiet: int, number: int, steps: int
) -> None:
    goal = make_goal(round=number, usage=Usage(steps=steps))
    decision = decide(goal, verdict(*found), Streak(quiet=quiet))
    assert isinstance(decision, Complete) == (bool(found) and set(found) == {"met"})
    if isinstance(decision, NextRound):
        assert decision.round == number + 1
        assert number < goal.budget.rounds and steps < goal.budget.steps


@given(st.lists(st.sampled_from(["idle", "touch"]), min_size=40, max_size=40))
def test_no_sequence_without_a_new_criterion_or_file_goes_on_for_ever(rounds: list[str]) -> None:
    streak = Streak()
    for number, kind in enumerate(rounds):
        files = {"out.xlsx": f"{number}" if kind == "touch" else "same"}
        streak = advance(streak, verdict("not_met"), artifacts=files, blocker=None)
        if isinstance(decide(make_goal(budget=Budget(rounds=1000)), verdict("not_met"), streak), Block):
            return
    raise AssertionError(f"still going after {len(rounds)} rounds: {streak}")


def test_landed_work_resets_the_count_of_quiet_rounds() -> None:
    streak = Streak()
    for files in ({}, {}, {"a": "1"}, {"a": "1"}):
        streak = advance(streak, verdict("not_met", "not_met"), artifacts=files, blocker=None)
    assert streak.quiet == 1
    streak = advance(streak, verdict("met", "not_met"), artifacts={"a": "1"}, blocker=None)
    assert (streak.quiet, streak.barren) == (0, 0)


def test_the_same_blocker_is_counted_and_another_starts_anew() -> None:
    key, quota = Blocker(text="no key"), Blocker(reason="budget", text="quota")
    streak = Streak()
    counts = []
    for blocker in (key, key, quota, key, key, key):
        streak = advance(streak, verdict("not_met"), artifacts={}, blocker=blocker)
        counts.append(streak.same_blocker)
    assert counts == [1, 2, 1, 1, 2, 3]
    assert advance(streak, verdict("met"), artifacts={}, blocker=key).same_blocker == 0
