"""The decision table, and what the engine counts across rounds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pursuit.contract import Contract, Criterion, Wait
from pursuit.models import (
    Blocker,
    Budget,
    Evidence,
    Finding,
    Goal,
    Streak,
    Tally,
    Usage,
    Verdict,
)
from pursuit.round import Ask, Block, Complete, Decision, NextRound, WaitFor, advance, decide
from pursuit.state import Reason

UNTIL = Wait(kind="timer", seconds=60)


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
    findings = [
        Finding(criterion=f"c{n}", status=s, why="seen", wait=UNTIL if s == "waiting" else None)  # type: ignore[arg-type]
        for n, s in enumerate(statuses, 1)
    ]
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
            {"quiet": 4},
            Block(reason=Reason.STALLED, detail="4 rounds running brought no progress"),
        ),
        (
            {},
            ("not_met",),
            {"barren": 8},
            Block(reason=Reason.STALLED, detail="8 rounds running only changed files and met no criterion"),
        ),
        ({}, ("waiting", "not_met"), {"quiet": 2}, NextRound(round=3)),
        ({}, ("waiting", "met"), {"quiet": 9}, WaitFor(round=3, wait=UNTIL)),
    ],
)
def test_the_first_rule_that_applies_wins(over: Any, found: Any, streak: Any, expected: Any) -> None:
    assert decide(make_goal(**over), verdict(*found), Streak(**streak)) == expected


STATUS = st.sampled_from(["met", "not_met", "cannot_tell", "waiting", "blocked", "impossible"])


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


def run_rounds(rounds: list[tuple[dict[str, str], tuple[str, ...]]]) -> list[Decision]:
    """The decisions over rounds, each with its files and what was found; until the goal is blocked."""
    streak, decisions = Streak(), []
    for files, found in rounds:
        streak = advance(streak, verdict(*found), artifacts=files, blocker=None)
        decisions.append(decide(make_goal(budget=Budget(rounds=1000)), verdict(*found), streak))
        if isinstance(decisions[-1], Block):
            break
    return decisions


FILES = st.sampled_from(["idle", "touch", "a", "b", "c"])
FOUND = st.sampled_from([("not_met", "not_met"), ("met", "not_met"), ("not_met", "met")])


@given(st.lists(st.tuples(FILES, FOUND), min_size=80, max_size=80))
def test_no_sequence_without_new_criteria_or_files_goes_on_for_ever(rounds: list[tuple[str, tuple[str, ...]]]) -> None:
    """Whatever a model does to files that are there already, and whichever criteria it meets and breaks in turn."""
    shown = [
        ({"out.xlsx": f"{number}" if kind == "touch" else kind}, found) for number, (kind, found) in enumerate(rounds)
    ]
    assert isinstance(run_rounds(shown)[-1], Block)


@given(st.lists(FILES, min_size=2, max_size=30), st.integers(0, 3))
def test_a_waiting_round_changes_no_count(files: list[str], quiet: int) -> None:
    streak = Streak(quiet=quiet, barren=quiet)
    for name in files:
        streak = advance(streak, verdict("waiting", "met"), artifacts={"out": name}, blocker=None)
        assert (streak.quiet, streak.barren) == (quiet, quiet)


def test_quiet_rounds_escalate_from_another_cut_to_a_question_to_a_stop() -> None:
    decisions = run_rounds([({"a": "1"}, ("not_met",))] * 9)
    assert [d.kind for d in decisions] == ["continue", "continue", "continue", "ask", "block"]
    asked, stopped = decisions[-2:]
    assert isinstance(asked, Ask) and "c1 (not_met): seen" in asked.question
    assert isinstance(stopped, Block) and stopped.reason is Reason.STALLED


def test_alternating_between_two_states_is_no_progress() -> None:
    there = [({"a": "1"}, ("met", "not_met")), ({"a": "2"}, ("not_met", "met"))]
    kinds = [d.kind for d in run_rounds(there * 10)]
    assert kinds == ["continue", "continue", "continue", "continue", "ask", "block"]


def test_a_round_that_leaves_everything_as_the_goal_began_is_quiet() -> None:
    began = {"code/a.py": "1"}
    streak = advance(Streak(), verdict("not_met"), artifacts=began, blocker=None, began=began)
    assert streak.quiet == 1
    streak = advance(streak, verdict("not_met"), artifacts={"code/a.py": "2"}, blocker=None, began=began)
    assert streak.quiet == 0
    assert advance(streak, verdict("not_met"), artifacts=began, blocker=None).quiet == 1, "and so is going back"


def test_items_that_are_closed_are_progress_and_opening_them_again_is_not() -> None:
    streak = Streak()
    for closed in (5, 9, 9, 5, 9):
        streak = advance(streak, verdict("not_met"), artifacts={}, blocker=None, closed=closed)
    assert streak.quiet == 3


def test_a_verdict_on_an_older_revision_completes_nothing() -> None:
    goal = make_goal()
    newer = goal.model_copy(update={"contract": goal.contract.model_copy(update={"revision": 2})})
    assert isinstance(decide(newer, verdict("met", "met"), Streak()), NextRound)


def evidence(trouble: Any) -> Evidence:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    return Evidence(
        criterion="c1", kind="command", passed=False, output="no such thing", seconds=0, revision=1, at=now,
        trouble=trouble,
    )  # fmt: skip


def test_a_check_that_no_worker_can_carry_out_blocks_at_once_and_a_broken_one_when_nothing_moves() -> None:
    found = verdict("cannot_tell")
    unavailable = found.model_copy(update={"evidence": (evidence("unavailable"),)})
    assert decide(make_goal(), unavailable, Streak()) == Block(reason=Reason.CONFIGURATION, detail="c1: no such thing")
    broken = found.model_copy(update={"evidence": (evidence("broken"),)})
    assert isinstance(decide(make_goal(), broken, Streak(quiet=1)), NextRound)
    stopped = decide(make_goal(), broken, Streak(quiet=4))
    assert isinstance(stopped, Block) and stopped.reason is Reason.CONFIGURATION and "c1" in stopped.detail


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
