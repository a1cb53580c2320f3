"""What a goal begins with: copies of the inputs that it is to edit."""

from __future__ import annotations

import os
from pathlib import Path

from pursuit.blobs import Blobs
from pursuit.contract import Frozen
from pursuit.models import Artifact, Goal, input_name
from worker.files.repository import Repository
from worker.files.workspace import OutsideWorkspace, tracked

#: files of one input: a folder with more is no folder somebody means to have edited
FILES_MOST = 50_000


class Begun(Frozen):
    """The files, and by input the commit of a repository that they are of."""

    files: tuple[Artifact, ...] = ()
    commits: dict[str, str] = {}  # noqa: RUF012  pydantic copies it


def source_of(goal: Goal, name: str, allowed_roots: list[Path]) -> Path:
    """Where an input lies. Raises OutsideWorkspace for one that isn't there or isn't allowed."""
    (item,) = [item for item in goal.inputs if input_name(item) == name]
    source = Path(item.path).expanduser().resolve()
    allowed = [root.resolve() for root in allowed_roots]
    if allowed and not any(source.is_relative_to(root) for root in allowed):
        raise OutsideWorkspace(f"input {item.path!r} lies in none of the allowed folders")
    if not source.exists():
        raise OutsideWorkspace(f"input {item.path!r} isn't there on this worker's machine")
    return source


def import_inputs(goal: Goal, allowed_roots: list[Path], blobs: Blobs) -> Begun:
    """Copies the inputs that are to be edited into the blob store. Blocks; raises OutsideWorkspace."""
    files: list[Artifact] = []
    commits = {}
    for item in goal.inputs:
        if not item.edit:
            continue
        name = input_name(item)
        source = source_of(goal, name, allowed_roots)
        if Repository.is_one(source):
            repository = Repository(source)
            commits[name] = repository.head()
            files += repository.files(commits[name], name, blobs)
        else:
            files += _folder(source, name, blobs)
        if len(files) > FILES_MOST:
            raise OutsideWorkspace(f"input {item.path!r} has more than {FILES_MOST} files; name a smaller folder")
    return Begun(files=tuple(files), commits=commits)


def _folder(source: Path, name: str, blobs: Blobs) -> list[Artifact]:
    found = [(name, source)] if source.is_file() else [(f"{name}/{path}", real) for path, real in tracked(source)]
    files = []
    for path, real in found:
        sha256, size = blobs.put_file(real)
        executable = os.access(real, os.X_OK)
        files.append(Artifact(path=path, sha256=sha256, size=size, round=0, subtask="input", executable=executable))
    return files
