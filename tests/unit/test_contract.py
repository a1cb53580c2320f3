"""Contracts: ids that never come again, revisions that follow each other, waits that say what they lack."""

from __future__ import annotations

import pytest

from pursuit.contract import Amendment, Criterion, HumanCheck, Wait, amend, draft, unspecified
from pursuit.models import Brief, Submission
from pursuit.plan import fit
from pursuit.store.changes import Change, announced
from pursuit.store.replies import first_contract


def contract(*texts: str):  # type: ignore[no-untyped-def]
    return first_contract(Submission(objective="Compare", criteria=[Criterion(text=t) for t in texts]))


def test_a_dropped_criterions_id_never_comes_again() -> None:
    first = contract("a", "b")
    second = amend(first, Amendment(criteria=[Criterion(id="c1", text="a")]))
    third = amend(second, Amendment(criteria=[Criterion(id="c1", text="a"), Criterion(text="new")]))
    assert [c.criterion_ids() for c in (first, second, third)] == [["c1", "c2"], ["c1"], ["c1", "c3"]]
    assert [c.revision for c in (first, second, third)] == [1, 2, 3]
    assert {c.objective for c in (first, second, third)} == {"Compare"}


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="no criterion 'c5'"):
        amend(contract("a"), Amendment(criteria=[Criterion(id="c5", text="a")]))
    with pytest.raises(ValueError, match="same `id`"):
        amend(contract("a"), Amendment(criteria=[Criterion(id="c1", text="a"), Criterion(id="c1", text="b")]))


def test_only_what_is_named_changes_and_notes_are_kept() -> None:
    first = contract("a")
    second = amend(amend(first, Amendment(note="one")), Amendment(note="two", boundaries=["law"]))
    assert (second.notes, second.boundaries, second.criteria) == (("one", "two"), ("law",), first.criteria)
    words = announced(second)
    assert "revision 3" in words and "c1: a" in words and "Nobody may write law" in words and "Note: two" in words


def test_a_draft_takes_the_place_of_nothing_and_says_who_wrote_it() -> None:
    nobody = unspecified("Compare")
    assert nobody.author == "engine" and nobody.warnings()
    drafted = draft(nobody, [Criterion(text="x", check=HumanCheck()), Criterion(text="y")])
    assert (drafted.author, drafted.revision, drafted.criterion_ids()) == ("planner", 2, ["c1", "c2"])
    assert not drafted.warnings()


def test_a_change_of_limits_alone_is_no_new_revision() -> None:
    assert not Change(labels={"a": "b"}).of_contract and Change(note="x").of_contract


@pytest.mark.parametrize(
    ("wait", "problem"),
    [
        (Wait(kind="timer", seconds=5), ""),
        (Wait(kind="http", url="http://x"), ""),
        (Wait(kind="http", url="file:///etc/passwd"), "must begin with http"),
        (Wait(kind="http"), "needs 'url'"),
        (Wait(kind="command"), "needs 'command'"),
        (Wait(kind="goal"), "needs 'goal'"),
    ],
)
def test_a_wait_says_what_it_lacks(wait: Wait, problem: str) -> None:
    assert problem in wait.problem() and bool(problem) == bool(wait.problem())


def test_shares_of_steps_fit_into_what_is_left() -> None:
    briefs = [Brief(title=f"{n}", objective="x", steps=30) for n in range(300)]
    assert [b.steps for b in fit(briefs, 10_000)] == [30] * 300
    assert sum(b.steps for b in fit(briefs, 3_900)) <= 3_900
    assert {b.steps for b in fit(briefs, 10)} == {2}
