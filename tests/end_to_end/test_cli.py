"""The command line as a person types it, against a running house."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis import Redis

from tests.house import House, eventually
from tests.scripted import ScriptedModel


class Shell:
    """Runs `pursuit` with the house's address."""

    def __init__(self, house: House, folder: Path) -> None:
        self.env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PURSUIT_URL": house.url, "NO_COLOR": "1"}
        self.folder = folder

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "pursuit.cli", *words]

    def run(self, *words: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        ran = subprocess.run(
            self.argv(*words), env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=60, input=stdin
        )
        assert ran.returncode == code, f"{words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran


def heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def shell(house: House, tmp_path: Path) -> Shell:
    return Shell(house, tmp_path)


@pytest.fixture(scope="module")
def done(house: House) -> str:
    goal = house.submit("Describe four questions", inputs=[house.items(4)])
    house.until(goal)
    return goal


def test_run_submits_watches_and_saves_the_files(shell: Shell, house: House, tmp_path: Path) -> None:
    (tmp_path / "goal.yaml").write_text("objective: Look at the list\ninputs: [{path: list}]\nlabels: {a: b}\n")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "items.txt").write_text("one\ntwo\n")
    ran = shell.run("run", "-f", "goal.yaml", "--out", "files", "--check", "test -s report.md")
    assert "round 1: 2 subtasks" in ran.stderr and "Done: all 1 criteria" in ran.stderr
    assert (tmp_path / "files" / "report.md").exists()
    assert ran.stdout.strip() == "files/report.md"


def test_looking_commands_print_tables_and_json(shell: Shell, done: str, tmp_path: Path) -> None:
    assert done in shell.run("list", "--limit", "200").stdout
    assert json.loads(shell.run("list", "-o", "json").stdout)["items"]
    assert "Done: all 1 criteria" in shell.run("show", done).stdout
    assert shell.run("rounds", done).stdout.splitlines()[0].split("\t")[:4] == ["1", "4 done", "0/1", "continue"]
    lines = shell.run("subtasks", done, "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["r1-001", "r1-002", "r1-003", "r1-004", "r2-001"]
    log = shell.run("log", done).stdout.splitlines()
    assert "goal.submitted" in log[0] and "completed" in log[-1]
    assert len(shell.run("log", done, "-f").stdout.splitlines()) == len(log)
    assert "-> write_file" in shell.run("log", done, "r1-001").stdout
    assert "# Describe four questions" in shell.run("report", done).stdout
    assert "report.md" in shell.run("artifacts", done, "--get", "saved").stdout
    assert (tmp_path / "saved" / "notes" / "001.md").exists()
    assert shell.run("watch", done).stderr.strip().endswith("after 2 rounds.")
    last = shell.run("watch", done, "-o", "jsonl").stdout.splitlines()[-1]
    assert json.loads(last)["type"] == "goal.summary"


def test_acting_commands_and_their_exit_codes(shell: Shell, house: House) -> None:
    goal = shell.run("submit", "Wait for spring", "-o", "json").stdout
    assert json.loads(goal)["status"] == "queued"
    later = house.submit("Wait for summer", start_at="2099-01-01T00:00:00Z")
    assert "paused" in shell.run("pause", later).stdout
    shell.run("watch", later, code=6)
    assert "already" in shell.run("pause", later).stdout
    assert "queued" in shell.run("resume", later).stdout
    shell.run("watch", later, "--timeout", "1", code=124)
    assert "cancelled" in shell.run("cancel", later, "--reason", "no summer").stdout
    shell.run("watch", later, code=5)
    blocked = house.submit("Two rounds in one", inputs=[house.items(2)], budget={"rounds": 1})
    shell.run("watch", blocked, code=3)
    shell.run("resume", blocked, "--rounds", "2")
    shell.run("watch", blocked)


def test_errors_say_what_is_wrong_and_what_to_do(shell: Shell, tmp_path: Path) -> None:
    assert "no goal" in shell.run("show", "goal_NOPE", code=1).stderr
    wrong = shell.run("submit", "x", "--rounds", "-3", code=1).stderr
    assert "budget.rounds" in wrong and "Use 1 or more" in wrong
    assert "no objective" in shell.run("submit", code=1).stderr
    assert "can't be read" not in shell.run("submit", "-f", "none.yaml", code=1).stderr
    (tmp_path / "bad.yaml").write_text("objective: [")
    assert "no YAML" in shell.run("submit", "-f", "bad.yaml", code=1).stderr
    shell.run("show", code=2)
    shell.env["PURSUIT_URL"] = "http://127.0.0.1:9"
    away = shell.run("list", code=1).stderr
    assert "nothing answers" in away and "pursuit up" in away


def test_the_objective_may_come_from_stdin(shell: Shell) -> None:
    ran = shell.run("submit", "-", "-o", "json", stdin="A long objective\nof two lines\n")
    assert json.loads(ran.stdout)["objective"] == "A long objective\nof two lines"


def test_ctrl_c_detaches_and_says_how_to_come_back(
    shell: Shell, house: House, model: ScriptedModel, tmp_path: Path
) -> None:
    model.delay = 0.5
    try:
        argv = shell.argv("run", "Go on without me", "--input", house.items(20)["path"])
        # a test run started in the background ignores SIGINT, and its children would too
        process = subprocess.Popen(
            argv, env=shell.env, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
        )
        assert process.stderr is not None
        goal = process.stderr.readline().split()[1]
        eventually(lambda: house.goal(goal)["phase"] == "executing", seconds=20)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
        assert process.returncode == 130
        assert f"pursuit watch {goal}" in said
    finally:
        model.delay = 0
    house.until(goal)


def test_on_a_terminal_the_swarm_is_drawn(shell: Shell, house: House, model: ScriptedModel, tmp_path: Path) -> None:
    goal = house.submit("Draw me on a terminal", inputs=[house.items(24)])
    master, slave = pty.openpty()
    env = {**shell.env, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen(
        shell.argv("watch", goal), env=env, cwd=tmp_path, stdout=slave, stderr=slave, stdin=slave
    )
    os.close(slave)
    seen = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
    os.close(master)
    assert process.wait(timeout=30) == 0
    text = seen.decode(errors="replace")
    assert "Draw me on a terminal" in text and "■" in text and "Done: all 1 criteria are met" in text


def test_help_is_quick_and_names_every_command(shell: Shell) -> None:
    began = time.monotonic()
    text = shell.run("--help").stdout
    assert time.monotonic() - began < 3
    names = "run up submit watch list show rounds subtasks log report artifacts pause resume cancel doctor worker api"
    for name in [*names.split(), "flower"]:
        assert f"  {name} " in text
        assert "Usage:" in shell.run(name, "--help").stdout


def test_doctor_names_what_is_wrong_with_its_cure(shell: Shell, house: House) -> None:
    shell.env["PURSUIT_REDIS_URL"] = house.redis_url
    shell.env["PURSUIT_DATA"] = str(shell.folder / "data")
    good = shell.run("doctor").stdout
    assert "redis: version" in good and "rehearsal" in good
    shell.env["PURSUIT_REDIS_URL"] = "redis://127.0.0.1:9/0"
    bad = shell.run("doctor", code=1).stdout
    assert "ERROR   redis" in bad and "correct PURSUIT_REDIS_URL" in bad
    shell.env["PURSUIT_MODEL"] = "nonsense"
    assert "name a profile, or provider:model" in shell.run("doctor", code=1).stdout
    shell.env["PURSUIT_SHARDS"] = "none"
    assert "PURSUIT_SHARDS" in shell.run("doctor", code=2).stderr


def test_config_says_where_a_value_comes_from_and_masks_secrets(shell: Shell) -> None:
    secret = shell.folder / "secret"
    secret.write_text("redis://:hunter2@127.0.0.1:9/0")
    shell.env |= {"PURSUIT_LEASE": "12", "PURSUIT_REDIS_URL_FILE": str(secret)}
    (shell.folder / "pursuit.toml").write_text("workers = 3\n")
    rows = {row["setting"]: row for row in json.loads(shell.run("config", "-o", "json").stdout)}
    assert (rows["lease"]["value"], rows["lease"]["from"]) == ("12.0", "PURSUIT_LEASE")
    assert (rows["workers"]["value"], rows["workers"]["from"]) == ("3", "pursuit.toml")
    assert (rows["redis_url"]["value"], rows["redis_url"]["from"]) == ("********", "PURSUIT_REDIS_URL_FILE")
    assert rows["beat"]["from"] == "default"


def test_doctor_holds_a_goal_against_the_invariants_and_puts_it_right(shell: Shell, house: House) -> None:
    shell.env |= {"PURSUIT_REDIS_URL": house.redis_url, "PURSUIT_DATA": house.env["PURSUIT_DATA"]}
    goal = house.submit("Later", start_at="2099-01-01T00:00:00Z")
    assert "every invariant holds" in shell.run("doctor", "--goal", goal).stdout
    with Redis.from_url(house.redis_url, decode_responses=True) as redis:
        (due,) = [key for key in redis.keys("*:due") if redis.zrem(key, f"{goal} r1-plan")]
        found = shell.run("doctor", "--goal", goal, code=1).stdout
        assert "I6: r1-plan has no due entry" in found
        assert "(put right)" in shell.run("doctor", "--goal", goal, "--repair").stdout
        assert redis.zscore(due, f"{goal} r1-plan") > 4e12, "its time hasn't come"
    listed = json.loads(shell.run("doctor", "--goal", "all", "-o", "json").stdout)
    assert [g["findings"] for g in listed if g["goal"] == goal] == [[]]
    assert [e["type"] for e in house.events(goal)][1] == "goal.repaired"
    assert "there is no goal 'goal_nope'" in shell.run("doctor", "--goal", "goal_nope", code=1).stderr
    assert "is cancelled" in shell.run("cancel", goal).stdout


def test_guide_says_something_to_a_goal(shell: Shell, house: House) -> None:
    goal = house.submit("Listen", start_at="2099-01-01T00:00:00Z")
    shell.run("guide", goal, "Prefer primary sources")
    assert "Prefer primary sources" in shell.run("log", goal).stdout
    assert "no subtask r1-999" in shell.run("guide", goal, "You there", "--subtask", "r1-999", code=1).stderr
