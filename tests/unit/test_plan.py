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
