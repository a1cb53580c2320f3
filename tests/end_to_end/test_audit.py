"""The example goal, through the real client against a scripted server: a planted change and a planted lie are found."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from icalendar import Calendar
from openpyxl import load_workbook

from tests.house import House, audit_events
from tests.scripted import Answer, Call, ScriptedModel

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "audit"
SMALL = ("httpx", "idna", "h11", "certifi", "anyio", "ulid-py", "python-ulid", "click", "packaging", "typer")


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A small environment made of real distributions, copied file by file from this one."""
    root = tmp_path / "env"
    site = root / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for name in SMALL:
        try:
            found = distribution(name)
        except ModuleNotFoundError:
            continue
        for file in found.files or ():
            source, target = Path(str(file.locate())), (site / str(file)).resolve()
            if source.is_file() and target.is_relative_to(root.resolve()):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
    assert len(list(site.glob("*.dist-info"))) >= 7
    return root


def goal_file(environment: Path, marker: str) -> dict[str, Any]:
    goal: dict[str, Any] = yaml.safe_load((EXAMPLE / "goal.yaml").read_text())
    goal["objective"] += f" {marker}"
    goal["inputs"] = [{"path": str(EXAMPLE), "name": "checks"}, {"path": str(environment), "name": "env"}]
    return goal


def without_a_row(answer: Answer) -> Answer:
    """The answer with the first data row of the spreadsheet left out."""
    calls = []
    for call in answer.calls:
        arguments = json.loads(call.arguments)
        if call.name == "write_spreadsheet":
            del arguments["sheets"][0]["rows"][0]
        calls.append(call.model_copy(update={"arguments": json.dumps(arguments)}))
    return answer.model_copy(update={"calls": tuple(calls)})


def test_an_altered_file_is_found_and_a_missing_row_is_mended(
    house: House, model: ScriptedModel, environment: Path, tmp_path: Path
) -> None:
    altered = next(environment.glob("lib/python*/site-packages/idna/core.py"))
    altered.write_text(altered.read_text() + "\n# changed after install\n")
    lied = {"times": 0}

    def forgetful(call: Call) -> Answer | None:
        answer = call.rehearse()
        if any(made.name == "write_spreadsheet" for made in answer.calls) and not lied["times"]:
            lied["times"] += 1
            return without_a_row(answer)
        return None

    model.on("[forgetful]", forgetful)
    with house.client() as client:
        goal = client.submit(goal_file(environment, "[forgetful]"))["id"]
        house.until(goal, seconds=120)
        rounds = client.rounds(goal)["items"]
        for artifact in client.artifacts(goal):
            client.download(goal, artifact["path"], tmp_path / "out" / artifact["path"])
    audit_events(house.events(goal))
    assert lied["times"] == 1
    # round 3 wrote the outputs with a row missing; its check said which, and round 4 mended it
    verdicts = [{f["criterion"]: f for f in r["verdict"]["findings"]} for r in rounds]
    assert len(rounds) == 4
    assert verdicts[2]["c1"]["status"] == "not_met" and "missing row: " in verdicts[2]["c1"]["why"]
    assert all(finding["status"] == "met" for finding in verdicts[3].values())
    book = load_workbook(tmp_path / "out" / "audit.xlsx")
    names = {row[0] for row in list(book["distributions"].values)[1:]}
    findings = [tuple(row) for row in list(book["findings"].values)[1:]]
    assert {"idna", "httpx", "certifi"} <= names
    assert ("changed", "idna", "idna/core.py differs from its RECORD") in findings
    (event,) = Calendar.from_ical((tmp_path / "out" / "follow-up.ics").read_bytes()).walk("VEVENT")
    assert "Follow-up" in str(event["summary"])
    assert f"- Distributions: {len(names)}" in (tmp_path / "out" / "summary.md").read_text()


def test_the_checks_find_what_the_swarm_leaves_out(house: House, model: ScriptedModel, environment: Path) -> None:
    """The other way round: a swarm that hides the altered file doesn't get its goal completed."""
    altered = next(environment.glob("lib/python*/site-packages/idna/core.py"))
    altered.write_text("# gone\n")

    def hide(call: Call) -> Answer | None:
        answer = call.rehearse()
        calls = [
            made.model_copy(update={"arguments": made.arguments.replace("idna/core.py", "")})
            if made.name in ("write_file", "write_spreadsheet")
            else made
            for made in answer.calls
        ]
        return answer.model_copy(update={"calls": tuple(calls)})

    model.on("[hiding]", hide)
    goal = house.submit(**{"objective": "", **goal_file(environment, "[hiding]"), "budget": {"rounds": 4}})
    shown = house.until(goal, "blocked", seconds=120)
    status = {c["id"]: c for c in shown["criteria"]}
    assert status["c2"]["status"] == "not_met"
    assert "idna/core.py" in status["c2"]["why"]


def test_the_example_runs_by_one_command_without_key_or_network(tmp_path: Path) -> None:
    """`make run` as it is printed, on the whole environment of these tests, with a state folder of its own."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PURSUIT_DATA": str(tmp_path / "data"), "PURSUIT_PORT": "0"}
    argv = [sys.executable, "-m", "pursuit.cli", "run", "--file", str(EXAMPLE / "goal.yaml")]
    argv += ["--input", f"env={sys.prefix}", "--out", str(tmp_path / "out")]
    ran = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=115)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stderr.startswith("Model    rehearsal"), "the first line says that no language model is at work"
    assert [Path(line).name for line in ran.stdout.split()] == ["audit.xlsx", "follow-up.ics", "summary.md"]
    assert all(Path(line).is_file() for line in ran.stdout.split())
    rows = list(load_workbook(tmp_path / "out" / "audit.xlsx")["distributions"].values)[1:]
    assert len(rows) >= 60
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout.split()
    assert left == [], "the local stack ends with the goal"
