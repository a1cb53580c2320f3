"""The guards of the workspace: nothing is read outside it, nothing is written outside the write scope."""

from __future__ import annotations

from pathlib import Path

import pytest

from pursuit.blobs import Blobs
from pursuit.models import Input
from worker.files.workspace import OutsideWorkspace, Workspace


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    source = tmp_path / "source"
    source.mkdir()
    (source / "data.csv").write_text("a,b")
    (source / "sly").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("key")
    work, blobs = tmp_path / "work", Blobs(tmp_path / "blobs")
    space = Workspace(work, [Input(path=str(source), name="in")], layer=tmp_path / "layer", blobs=blobs)
    space.prepare()
    space.prepare()
    return space


ESCAPES = [
    "../secret",
    "/etc/passwd",
    "~/x",
    "notes/../../secret",
    "inputs/in/../../../secret",
    "a\0b",
    "..",
    "x/../..",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_no_path_leads_outside(space: Workspace, path: str) -> None:
    for use in (lambda: space.readable(path), lambda: space.writable(path, ("",)), lambda: list(space.files(path))):
        with pytest.raises(OutsideWorkspace):
            use()


def test_links_that_lead_outside_are_not_followed(space: Workspace, tmp_path: Path) -> None:
    with pytest.raises(OutsideWorkspace):
        space.readable("inputs/in/sly")
    assert [shown for shown, _ in space.files("inputs/in/*")] == ["inputs/in/data.csv"]
    (space.root / "out").symlink_to(tmp_path)
    with pytest.raises(OutsideWorkspace):
        space.writable("out/secret", ("out",))
    with pytest.raises(OutsideWorkspace):
        space.readable("out/secret")


def test_inputs_are_read_only(space: Workspace) -> None:
    assert space.readable("inputs/in/data.csv").read_text() == "a,b"
    for path in ("inputs/in/data.csv", "inputs/new.md", "inputs"):
        with pytest.raises(OutsideWorkspace, match="read-only"):
            space.write(path, b"x", ("",))
    with pytest.raises(OutsideWorkspace, match="inputs are: in"):
        space.readable("inputs/other/x")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("notes/a.md", True), ("notes", True), ("notes.md", False), ("other/a.md", False), ("notes2/a.md", False)],
)
def test_writing_stays_in_the_scope(space: Workspace, path: str, allowed: bool) -> None:
    if allowed:
        space.write(path, b"text", ("notes",))
        assert space.readable(path).read_bytes() == b"text"
        assert not (space.root / path).exists(), "what is committed stays as it is"
    else:
        with pytest.raises(OutsideWorkspace, match="write scope"):
            space.write(path, b"text", ("notes",))


def test_an_input_must_be_there_and_lie_in_an_allowed_folder(tmp_path: Path) -> None:
    with pytest.raises(OutsideWorkspace, match="isn't there"):
        Workspace(tmp_path / "w", [Input(path=str(tmp_path / "none"))])
    with pytest.raises(OutsideWorkspace, match="allowed"):
        Workspace(tmp_path / "w", [Input(path="/etc")], [tmp_path])
