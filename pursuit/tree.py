"""The files of a goal as a list of contents: what is committed, and how subtasks' layers are merged into it. Pure.

A layer holds what one subtask has changed, each file with the content that it saw before. A change is taken when the
file still has that content; else two have changed it, and the one that comes second is a conflict, never an overwrite.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from pursuit.contract import Frozen
from pursuit.models import Artifact

Tree = dict[str, Artifact]
#: where the losing side of a conflict is kept, below it the job and the path
CONFLICTS = "conflicts"


class Merged(Frozen):
    """What came of a merge: the tree, the files that are other than before, and what wasn't taken."""

    tree: dict[str, Artifact]
    changed: tuple[Artifact, ...]
    conflicts: tuple[str, ...]


def tree_of(base: Iterable[Artifact], committed: Iterable[Artifact]) -> Tree:
    """What there is: the files a goal began with under those it has committed; deleted ones are left out."""
    whole = {file.path: file for file in base} | {file.path: file for file in committed}
    return {path: file for path, file in sorted(whole.items()) if file.sha256}


def merge(tree: Mapping[str, Artifact], layers: Mapping[str, Sequence[Artifact]], boundaries: Sequence[str]) -> Merged:
    """Merges layers, in their order, into the committed tree."""
    whole, changed, conflicts = dict(tree), {}, []
    for job, layer in layers.items():
        for file in layer:
            there = whole[file.path].sha256 if file.path in whole else ""
            if file.sha256 == there:
                continue
            if covered(file.path, boundaries):
                conflicts.append(f"{job} changed {file.path!r}, which nobody may write; it stays as it was")
                continue
            if file.was != there:
                by = whole[file.path].subtask if file.path in whole else "a deletion"
                kept = f"{CONFLICTS}/{job}/{file.path}"
                conflicts.append(f"{job} and {by} both changed {file.path!r}; the version of {job} is {kept!r}")
                if not file.sha256:
                    continue
                file = file.model_copy(update={"path": kept})
            file = file.model_copy(update={"was": ""})
            changed[file.path] = file
            if file.sha256:
                whole[file.path] = file
            else:
                whole.pop(file.path, None)
    return Merged(tree=dict(sorted(whole.items())), changed=tuple(changed.values()), conflicts=tuple(conflicts))


def covered(path: str, scopes: Sequence[str]) -> bool:
    """Whether a path is one of the scopes or lies below one; "" and "." cover everything."""
    return any(
        scope in ("", ".") or path == scope.rstrip("/") or path.startswith(scope.rstrip("/") + "/") for scope in scopes
    )


def fingerprint(tree: Mapping[str, Artifact]) -> str:
    """The same for the same files, whoever made them."""
    lines = [f"{path}\0{file.sha256}\0{file.executable}" for path, file in sorted(tree.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def listed(tree: Mapping[str, Artifact]) -> str:
    """A tree as a blob keeps it."""
    return json.dumps([file.model_dump(mode="json", exclude_defaults=True) for file in tree.values()])


def read_list(text: str) -> list[Artifact]:
    return [Artifact.model_validate(item) for item in json.loads(text)]
