"""The tables of states, and that the scripts hold to them."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from pursuit.errors import PursuitError, tree
from pursuit.state import COMMANDS, FINAL, TRANSITIONS, Status, commands_for
from pursuit.store.scripts import LIMIT_NAMES, NAMES

LUA = resources.files("pursuit.store") / "lua"


def test_every_status_has_its_row_and_only_final_ones_lead_nowhere() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert {status for status, to in TRANSITIONS.items() if not to} == FINAL


def test_a_person_can_always_end_what_is_not_over() -> None:
    for status in set(Status) - {Status.COMPLETED}:
        assert "cancel" in commands_for(status)
    assert all(legal <= set(Status) for legal in COMMANDS.values())


@pytest.mark.parametrize("name", (*NAMES, *LIMIT_NAMES))
def test_a_scripts_header_names_exactly_what_its_body_uses(name: str) -> None:
    text = (LUA / f"{name}.lua").read_text()
    head = "\n".join(line for line in text.splitlines() if line.startswith("--"))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    assert text.startswith("-- ") and "-- returns " in head
    said = set(re.findall(r"(KEYS|ARGV)\[(\d+)\]", head))
    used = set(re.findall(r"(KEYS|ARGV)\[(\d+)\]", body))
    # the first two keys and the time are taken by the shared library in front of each script
    assert said == used | {("KEYS", "1"), ("KEYS", "2"), ("ARGV", "1")}
    assert len(body.strip().splitlines()) <= 75


def test_no_script_makes_a_global() -> None:
    for name in (*NAMES, *LIMIT_NAMES, "_lib", "_limit"):
        for line in (LUA / f"{name}.lua").read_text().splitlines():
            if re.match(r"^[a-z_]+ *=[^=]", line):
                raise AssertionError(f"{name}.lua: {line}")


def test_every_error_says_what_to_do() -> None:
    for code, kind in tree().items():
        assert issubclass(kind, PursuitError)
        assert kind.title and kind.action and kind.__doc__, code
    assert len(tree()) >= 12


def test_the_tree_at_the_top_of_the_file_is_the_one_there_is() -> None:
    import pursuit.errors

    drawn = re.findall(r"([A-Z][A-Za-z]+)(?= +\d{3}| {2,})", pursuit.errors.__doc__ or "")
    assert set(drawn) == {kind.__name__ for kind in tree().values()} - {"PursuitError"}
