"""A job's own layer: rebuilt from what was recorded, filled up for commands, kept inside its scope."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from pursuit.blobs import Blobs
from pursuit.models import Artifact
from pursuit.tree import Tree
from worker.files.states import folder_of, tidy
from worker.files.workspace import OutsideWorkspace, Workspace, Written


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def tree(blobs: Blobs) -> Tree:
    texts = {"src/a.py": "a = 1\n", "run.sh": "#!/bin/sh\necho ran\n", "law/x": "law"}
    return {
        path: Artifact(
            path=path,
            sha256=blobs.put(text.encode()),
            size=len(text),
            round=0,
            subtask="input",
            executable="run" in path,
        )
        for path, text in texts.items()
    }


def layered(tmp_path: Path, tree: Tree, blobs: Blobs, name: str = "r1-001-x") -> Workspace:
    root = folder_of(tree, tmp_path / "states", blobs)
    space = Workspace(root, tree=tree, layer=tmp_path / "layers" / name, blobs=blobs, boundaries=("law",))
    space.prepare()
    return space


def texts(space: Workspace) -> dict[str, str]:
    found = {shown: real.read_text() for shown, real in space.files("**/*") if real.is_file()}
    return {shown: text for shown, text in found.items() if "__pycache__" not in shown}


def test_writing_shows_over_what_is_committed_and_changes_nothing_of_it(
    tmp_path: Path, tree: Tree, blobs: Blobs
) -> None:
    space = layered(tmp_path, tree, blobs)
    space.write("src/a.py", b"a = 2\n", ("src",))
    space.write("src/new.py", b"new\n", ("src",))
    assert texts(space) == {
        "law/x": "law",
        "run.sh": "#!/bin/sh\necho ran\n",
        "src/a.py": "a = 2\n",
        "src/new.py": "new\n",
    }
    other = layered(tmp_path, tree, blobs, "r1-002-y")
    assert texts(other)["src/a.py"] == "a = 1\n" and "src/new.py" not in texts(other)
    assert [(f.path, f.was != "") for f in space.written(1, "r1-001")] == [("src/a.py", True), ("src/new.py", False)]
    with pytest.raises(OutsideWorkspace, match="boundaries"):
        space.write("law/x", b"mine", ("",))


def test_an_attempt_that_goes_on_has_what_was_recorded_and_nothing_else(
    tmp_path: Path, tree: Tree, blobs: Blobs
) -> None:
    died = layered(tmp_path, tree, blobs)
    call = died.for_call()
    call.write("src/a.py", b"recorded\n", ("src",))
    recorded = dict(call.changes)
    died.for_call().write("src/b.py", b"died before it was recorded\n", ("src",))
    resumed = layered(tmp_path, tree, blobs, "r1-001-z")
    resumed.restore(recorded)
    assert texts(resumed)["src/a.py"] == "recorded\n" and "src/b.py" not in texts(resumed)
    assert [f.path for f in resumed.written(1, "r1-001")] == ["src/a.py"]


def test_what_a_command_does_is_noted_and_undone_outside_the_scope(tmp_path: Path, tree: Tree, blobs: Blobs) -> None:
    space = layered(tmp_path, tree, blobs)
    space.write("src/b.py", b"b = 1\n", ("src",))
    call = space.for_call()
    folder = call.folder()
    script = "echo more >> src/a.py; echo x > src/b.py; rm law/x; echo evil > root.txt; ./run.sh > src/out"
    subprocess.run(["/bin/sh", "-c", f"{script}; mkdir __pycache__; touch __pycache__/y"], cwd=folder, check=True)
    assert sorted(call.note_changes(("src",))) == ["law/x", "root.txt"]
    assert sorted(call.changes) == ["src/a.py", "src/b.py", "src/out"]
    assert (folder / "law" / "x").read_text() == "law" and not (folder / "root.txt").exists()
    assert texts(space)["src/a.py"] == "a = 1\nmore\n" and texts(space)["src/out"] == "ran\n"
    assert blobs.path(tree["src/a.py"].sha256).read_text() == "a = 1\n", "a blob is nobody's to write"
    assert call.note_changes(("src",)) == [] and sorted(call.changes) == ["src/a.py", "src/b.py", "src/out"]
    (folder / "src" / "a.py").unlink()
    again = space.for_call()
    assert again.note_changes(("src",)) == [] and again.changes == {"src/a.py": Written(sha256="")}
    assert "src/a.py" not in texts(space) and not space.readable("src/a.py").exists()
    resumed = layered(tmp_path, tree, blobs, "r1-001-z")
    resumed.restore({**call.changes, **again.changes})
    assert texts(resumed) == texts(space)


def test_a_state_is_made_once_whoever_asks(tmp_path: Path, tree: Tree, blobs: Blobs) -> None:
    first = folder_of(tree, tmp_path / "states", blobs)
    assert folder_of(dict(reversed(tree.items())), tmp_path / "states", blobs) == first
    assert (first / "run.sh").stat().st_mode & 0o111 and not (first / "src" / "a.py").stat().st_mode & 0o111
    for n in range(4):
        more = tree | {"n": tree["law/x"].model_copy(update={"path": f"n{n}", "sha256": blobs.put(f"{n}".encode())})}
        folder_of({f.path: f for f in more.values()}, tmp_path / "states", blobs)
    assert len(list((tmp_path / "states").iterdir())) == 3, "older ones go"


def test_what_dead_workers_left_is_tidied_up_but_for_what_may_be_late(tmp_path: Path) -> None:
    for name in ("r1-001-dead", "r2-001-late", "r3-001-now", "other"):
        (tmp_path / "layers" / name).mkdir(parents=True)
    for name, age in (("check-old", 4_000), ("check-now", 0)):
        copy = tmp_path / "checks" / name
        copy.mkdir(parents=True)
        os.utime(copy, (time.time() - age, time.time() - age))
    tidy(tmp_path, 2)
    assert sorted(path.name for path in (tmp_path / "layers").iterdir()) == ["other", "r2-001-late", "r3-001-now"]
    assert [path.name for path in (tmp_path / "checks").iterdir()] == ["check-now"]
    tidy(tmp_path / "nothing", 2)


def test_a_file_and_a_folder_of_one_name_are_told_apart(tmp_path: Path, tree: Tree, blobs: Blobs) -> None:
    space = layered(tmp_path, tree, blobs)
    space.write("notes", b"a file", ("",))
    with pytest.raises(OutsideWorkspace, match="same name"):
        space.write("notes/deep.md", b"below it", ("",))


@pytest.mark.parametrize("address", ["memory://pursuit-test", "file"])
def test_blobs_are_shared_through_any_filesystem(tmp_path: Path, address: str) -> None:
    remote = address if address != "file" else f"file://{tmp_path / 'shared'}"
    here, there = Blobs(tmp_path / "here", remote), Blobs(tmp_path / "there", remote)
    sha = here.put(b"content")
    assert there.path(sha).read_bytes() == b"content"
    (tmp_path / "file").write_bytes(b"more")
    sha, size = here.put_file(tmp_path / "file")
    assert (there.path(sha).read_bytes(), size) == (b"more", 4)
    assert there.text(here.put_text("words", durable=True)) == "words"
    with pytest.raises(KeyError):
        there.path("0" * 64)
    alone = Blobs(tmp_path / "alone")
    with pytest.raises(KeyError):
        alone.path(sha)
