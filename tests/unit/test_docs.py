"""What the docs name is there: tests, crash points, commands of the Makefile."""

from __future__ import annotations

import re
from pathlib import Path

from config.crashpoints import POINTS

ROOT = Path(__file__).parents[2]
GUARANTEES = (ROOT / "docs" / "guarantees.md").read_text()


def test_every_test_named_as_proof_exists() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    files = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    named = re.findall(r"`(test_\w+)(\.py|…|\[[^\]]*\])?`", GUARANTEES)
    assert len(named) > 30
    for name, rest in named:
        if rest == ".py" or f"{name}.py" in files:
            assert f"{name}.py" in files
        else:
            whole = "" if rest == "…" else "("
            assert f"def {name}{whole}" in tests, name


def test_every_crash_point_named_is_one() -> None:
    for line in re.findall(r"crash points? ((?:`\w+`,? ?)+)", GUARANTEES):
        assert set(re.findall(r"`(\w+)`", line)) <= set(POINTS), line
    assert f"{len(POINTS)} named arrows" in GUARANTEES


def test_every_make_target_named_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        assert set(re.findall(r"`make ([a-z]+)", page.read_text())) <= targets, page


def test_every_row_of_the_scenarios_is_there() -> None:
    rows = re.findall(r"^\| (\d+) \|", GUARANTEES, re.MULTILINE)
    assert rows == [str(number) for number in range(1, 28)]
