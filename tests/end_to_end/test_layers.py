"""Files: each subtask in a layer of its own, merged at the join; conflicts named; a git repository gets a branch."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx

from pursuit.client import Client
from tests.end_to_end.play import brief_of, by_role, digest, goal_of, plan, subtask, until, write
from tests.house import House, audit_events, eventually
from tests.scripted import Answer, Call, ScriptedModel, says

ALL = {"text": "all of it is there", "check": {"kind": "command", "command": "cat one.md two.md"}}


def test_siblings_do_not_see_each_other_and_the_next_round_sees_all(
    house: House, model: ScriptedModel, client: Client
) -> None:
    seen: dict[str, str] = {}

    def worker(call: Call) -> Answer:
        title = brief_of(call)["brief"]["title"]
        if call.turn == 0:
            return says("", write(f"{title}.md", title))
        if call.turn == 1:
            return says("", ("list_files", {"pattern": "*.md"}))
        seen[title] = str(call.messages[-1]["content"])
        return digest(title, artifacts=[f"{title}.md"])

    def planner(call: Call) -> Answer:
        names = ["one", "two"] if goal_of(call)["round"] == 1 else ["three"]
        return plan(*(subtask(name, write_scope=[f"{name}.md"]) for name in names))

    model.on("[layers]", by_role(planner=planner, worker=worker))
    three = {"text": "the third, too", "check": {"kind": "file", "path": "three.md"}}
    goal = house.submit("Write three [layers]", criteria=[ALL, three])
    house.until(goal)
    assert [("one.md" in seen[t], "two.md" in seen[t]) for t in ("one", "two", "three")] == [
        (True, False),
        (False, True),
        (True, True),
    ]
    artifacts = {a["path"]: a for a in client.artifacts(goal)}
    assert {p: (a["round"], a["subtask"], a["pending"]) for p, a in artifacts.items()} == {
        "one.md": (1, "r1-001", False),
        "three.md": (2, "r2-001", False),
        "two.md": (1, "r1-002", False),
    }
    left = house.folder / "data" / "goals" / goal
    assert eventually(lambda: not list((left / "layers").iterdir())), "a layer is gone when its job has ended"
    assert not list((left / "checks").iterdir())
    audit_events(house.events(goal))


def test_files_of_a_round_that_is_not_verified_yet_are_shown_as_pending(
    house: House, model: ScriptedModel, client: Client
) -> None:
    def worker(call: Call) -> Answer:
        title = brief_of(call)["brief"]["title"]
        if title == "two":
            return says("", ("ask_person", {"question": "Which colour?"}))
        return says("", write("one.md", "one")) if call.turn == 0 else digest("one")

    model.on(
        "[pending]",
        by_role(planner=lambda call: plan(subtask("one", write_scope=["one.md"]), subtask("two")), worker=worker),
    )
    goal = house.submit("One and two [pending]", criteria=[ALL])
    house.until(goal, "blocked")
    (file,) = client.artifacts(goal)
    assert file["pending"] and httpx.get(f"{house.url}/v1/goals/{goal}/artifacts/one.md").content == b"one"
    client.cancel(goal)


def test_boundaries_are_kept_by_plans_and_by_tools(house: House, model: ScriptedModel, client: Client) -> None:
    heard: list[str] = []

    def planner(call: Call) -> Answer:
        if call.turn == 0:
            return plan(subtask("one", write_scope=["law/new.md"]))
        heard.append(str(call.messages[-1]["content"]))
        return plan(subtask("one", write_scope=["."]))

    def worker(call: Call) -> Answer:
        if call.turn == 0:
            return says("", write("law/new.md", "mine"), write("one.md", "one"))
        heard.extend(str(m["content"]) for m in call.messages if m["role"] == "tool")
        return digest("one")

    model.on("[boundaries]", by_role(planner=planner, worker=worker))
    goal = house.submit(
        "Stay out of the law [boundaries]",
        boundaries=["law"],
        criteria=[{"text": "one", "check": {"kind": "file", "path": "one.md"}}],
    )
    house.until(goal)
    assert "lies in the goal's boundaries" in heard[0] and "nobody may write it" in heard[1]
    assert [a["path"] for a in client.artifacts(goal)] == ["one.md"]


def git(folder: Path, *words: str) -> str:
    ended = subprocess.run(
        ["git", "-c", "user.name=A Person", "-c", "user.email=a@localhost", *words],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return ended.stdout.strip()


def make_repository(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "as it was")
    return folder


def test_a_git_repository_gets_its_result_as_a_branch_with_one_commit_a_round(
    house: House, model: ScriptedModel, client: Client
) -> None:
    repository = make_repository(
        house.folder / "book", {"one.md": "first", "old.md": "old", "run.sh": "#!/bin/sh\necho ok\n"}
    )
    (repository / "run.sh").chmod(0o755)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "can be run")
    (repository / "one.md").write_text("not committed, and not touched")
    hook = repository / ".git" / "hooks" / "reference-transaction"
    hook.write_text('#!/bin/sh\ntouch "$PWD/hooked"\n')
    hook.chmod(0o755)
    before = (git(repository, "rev-parse", "HEAD"), git(repository, "status", "--porcelain"))

    def planner(call: Call) -> Answer:
        number = goal_of(call)["round"]
        return plan(subtask(f"chapter {number}", write_scope=["book"]))

    def worker(call: Call) -> Answer:
        number = brief_of(call)["round"]
        if call.turn == 0:
            return says("", write(f"book/chapter{number}.md", f"chapter {number}"))
        return digest("written")

    model.on("[book]", by_role(planner=planner, worker=worker))
    goal = house.submit(
        "Write two chapters [book]",
        inputs=[{"path": str(repository), "name": "book", "edit": True}],
        criteria=[
            {"text": "two chapters", "check": {"kind": "command", "command": "cat book/chapter1.md book/chapter2.md"}},
            {"text": "it runs", "check": {"kind": "command", "command": "book/run.sh"}},
        ],
    )
    house.until(goal)
    branch = f"pursuit/{goal}"
    subjects = git(repository, "log", "--format=%s", f"main..{branch}").splitlines()
    assert subjects == ["Round 2: as scripted", "Round 1: as scripted"]
    assert git(repository, "show", f"{branch}:chapter2.md") == "chapter 2"
    assert git(repository, "show", f"{branch}:one.md") == "first"
    assert git(repository, "ls-tree", branch, "run.sh").startswith("100755")
    assert f"Pursuit-Goal: {goal}" in git(repository, "log", "-1", "--format=%B", branch)
    assert (git(repository, "rev-parse", "HEAD"), git(repository, "status", "--porcelain")) == before
    assert not (repository / "hooked").exists() and not (repository / ".git" / "hooked").exists()
    assert {a["path"] for a in client.artifacts(goal)} == {"book/chapter1.md", "book/chapter2.md"}
    house.audit(goal)


def test_a_late_change_of_what_others_have_changed_is_a_conflict_not_an_overwrite(
    house: House, model: ScriptedModel, client: Client
) -> None:
    """The straggler of round 1 comes when round 2 has written the same file."""
    conflicts: list[str] = []

    def planner(call: Call) -> Answer:
        view = goal_of(call)
        if view["round"] == 1:
            names = [subtask("slow", write_scope=["shared.md"]), *(subtask(f"quick {n}") for n in range(3))]
            return plan(*names)
        if view["round"] == 2:
            return plan(subtask("again", write_scope=["shared.md"]))
        conflicts.extend(view["conflicts"])
        late.append(str(view["late_digests"]))
        return plan(subtask("end", write_scope=["end.md"]))

    late: list[str] = []
    seen: list[str] = []

    async def worker(call: Call) -> Answer:
        title = brief_of(call)["brief"]["title"]
        if title == "slow" and call.turn == 0:
            return says("", write("shared.md", "by the slow one"))
        if title == "slow":
            await until(lambda: "again" in seen)
            return digest("slow, but done")
        if title == "again" and call.turn == 0:
            seen.append("again")
            return says("", write("shared.md", "by the quick one"))
        if title == "again":
            await until(lambda: any(e["type"] == "subtask.late" for e in house.events(goals[0])))
        if title == "end" and call.turn == 0:
            return says("", write("end.md", "end"))
        return digest(title)

    goals: list[str] = []
    model.on("[late]", by_role(planner=planner, worker=worker))
    goals.append(
        house.submit(
            "Share it [late]",
            stragglers={"quorum": 0.7, "factor": 0.1, "least_seconds": 2},
            criteria=[{"text": "end", "check": {"kind": "file", "path": "end.md"}}],
        )
    )
    house.until(goals[0])
    assert any("r1-001 and r2-001 both changed 'shared.md'" in text for text in conflicts)
    assert "slow, but done" in late[0]
    files = {a["path"] for a in client.artifacts(goals[0])}
    assert files == {"shared.md", "end.md", "conflicts/r1-001/shared.md"}
    kept = httpx.get(f"{house.url}/v1/goals/{goals[0]}/artifacts/shared.md").text
    assert kept == "by the quick one"
    audit_events(house.events(goals[0]))
    house.audit(goals[0])
