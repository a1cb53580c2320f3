"""Plans: templates filled in, and everything that forbids starting one."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pursuit.models import Brief, Plan
from pursuit.plan import expand, problems


def brief(name: str, *scope: str, tools: tuple[str, ...] = ()) -> Brief:
    return Brief(title=name, objective=f"do {name}", write_scope=scope, tools=tools)


def check(*briefs: Brief) -> list[str]:
    return problems(list(briefs), tools={"read_file"}, most=300)


def test_a_template_makes_one_brief_an_item() -> None:
    template = Brief(title="read {item}", objective="Read {item}", write_scope=("notes/{item}.md",))
    briefs = expand(Plan(subtasks=(brief("lead"),), template=template, items=("a", "b")))
    assert [b.title for b in briefs] == ["lead", "read a", "read b"]
    assert [b.write_scope for b in briefs[1:]] == [("notes/a.md",), ("notes/b.md",)]
    assert check(*briefs) == []


def test_an_item_cannot_lead_a_scope_out_of_the_workspace() -> None:
    template = Brief(title="{item}", objective="Read {item}", write_scope=("notes/{item}",))
    with pytest.raises(ValidationError, match=r"without '\.\.'"):
        expand(Plan(template=template, items=("../../etc",)))


def test_what_forbids_starting_is_named() -> None:
    assert "no subtasks" in check()[0]
    assert "at most 300" in check(*(brief(f"{n}") for n in range(301)))[0]
    assert check(*(brief(f"{n}") for n in range(300))) == []
    assert "same objective" in check(brief("a"), brief("a"))[0]
    assert "no tool named 'fly'" in check(brief("a", tools=("fly",)))[0]


@pytest.mark.parametrize(
    ("one", "two", "clash"),
    [
        ("out", "out", True),
        ("out", "out/deep/file.md", True),
        ("out/deep", "out", True),
        ("out", "outer", False),
        ("out/a", "out/b", False),
        ("a.md", "b.md", False),
    ],
)
def test_write_scopes_may_not_overlap(one: str, two: str, clash: bool) -> None:
    assert bool(check(brief("one", one), brief("two", two))) is clash


def test_one_subtask_may_hold_overlapping_scopes_itself() -> None:
    assert check(brief("one", "out", "out/deep"), brief("two", "other")) == []


def test_a_scope_of_everything_overlaps_with_all_others() -> None:
    assert check(brief("one", "."), brief("two", "out/a.md"))
    assert check(brief("one", "."), brief("two", "."))
    assert check(brief("one", "."), brief("two")) == []


def test_nobody_reads_what_another_writes_in_the_same_round() -> None:
    writer = brief("writer", "notes")
    reader = Brief(title="reader", objective="read", inputs=("notes/a.md",))
    assert "subtask 2 reads 'notes/a.md', which subtask 1 writes" in check(writer, reader)[0]
    own = Brief(title="own", objective="own", inputs=("notes/a.md",), write_scope=("notes",))
    assert check(own) == []


def test_scopes_inside_the_boundaries_are_refused() -> None:
    found = problems([brief("one", "law/x")], tools=set(), most=300, boundaries=["law"])
    assert "lies in the goal's boundaries" in found[0]


def test_the_template_is_for_each_item_that_is_open() -> None:
    template = Brief(title="read {item}", objective="Read {item}", write_scope=("notes/{item}.md",))
    plan = Plan(template=template, items=("a",), open_items=True)
    assert [b.item for b in expand(plan, ["b", "a", "c"])] == ["a", "b", "c"]
    assert [b.item for b in expand(plan.model_copy(update={"open_items": False}), ["b"])] == ["a"]
