"""A git repository as an input: its HEAD is what the goal begins with, and each round's outcome becomes a commit.

Only the object store and one branch are written. Working tree, index, HEAD and all other branches stay as they are, and
no hook of the repository is run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pursuit.blobs import Blobs
from pursuit.models import Artifact
from pursuit.tree import Tree
from worker.files.workspace import OutsideWorkspace

#: what an untrusted repository's configuration must not decide
CONFIG = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
AUTHOR = {
    "GIT_AUTHOR_NAME": "Pursuit",
    "GIT_AUTHOR_EMAIL": "pursuit@localhost",
    "GIT_COMMITTER_NAME": "Pursuit",
    "GIT_COMMITTER_EMAIL": "pursuit@localhost",
}
SECONDS = 300


class Repository:
    """A repository on this machine. Its methods block; call them in a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @staticmethod
    def is_one(path: Path) -> bool:
        """Whether a folder is the top of a git repository, and git is there to read it."""
        return (path / ".git").exists() and shutil.which("git") is not None

    def head(self) -> str:
        """The commit that HEAD names. Raises OutsideWorkspace where there is none."""
        return self._git("rev-parse", "--verify", "HEAD^{commit}").decode().strip()

    def files(self, commit: str, name: str, blobs: Blobs) -> list[Artifact]:
        """The regular files of a commit, below `name`, their contents stored. Links and submodules stay out."""
        entries = []
        for entry in self._git("ls-tree", "-r", "-z", commit).decode(errors="surrogateescape").split("\0"):
            about, _, path = entry.partition("\t")
            if about.startswith("100"):
                mode, _, sha = about.split()
                entries.append((mode, sha, path))
        contents = self._contents([sha for _, sha, _ in entries])
        return [
            Artifact(
                path=f"{name}/{path}",
                sha256=blobs.put(content),
                size=len(content),
                round=0,
                subtask="input",
                executable=mode == "100755",
            )
            for (mode, _, path), content in zip(entries, contents, strict=True)
        ]

    def _contents(self, shas: Sequence[str]) -> Iterator[bytes]:
        answer = self._git("cat-file", "--batch", given="\n".join([*shas, ""]).encode()) if shas else b""
        place = 0
        for _ in shas:
            end = answer.index(b"\n", place)
            size = int(answer[place:end].split()[2])
            yield answer[end + 1 : end + 1 + size]
            place = end + 1 + size + 1

    def commit(
        self, branch: str, start: str, before: Tree, after: Tree, blobs: Blobs, message: str, round_number: int
    ) -> str:
        """Commits what differs from `start`, whose files are `before`, as the round's one commit on a branch.

        Returns the branch's commit. The same round again is the same commit: its number stands in the message.
        """
        trailer = f"Pursuit-Round: {round_number}"
        reference = f"refs/heads/{branch}"
        old = self._maybe("rev-parse", "--verify", "--quiet", reference)
        parent = old or start
        if old and trailer in self._git("log", "-1", "--format=%B", old).decode().splitlines():
            parent = self._git("rev-parse", f"{old}^").decode().strip()
        tree = self._tree(start, before, after, blobs)
        there = old if old and tree == self._git("rev-parse", f"{old}^{{tree}}").decode().strip() else ""
        if there or tree == self._git("rev-parse", f"{parent}^{{tree}}").decode().strip():
            return there or parent
        words = f"{message}\n\n{trailer}\n"
        new = self._git("commit-tree", tree, "-p", parent, "-F", "-", given=words.encode()).decode().strip()
        self._git("update-ref", reference, new, *([old] if old else []))
        return new

    def _tree(self, start: str, before: Tree, after: Tree, blobs: Blobs) -> str:
        changed = {path: file for path, file in after.items() if _other(before.get(path), file)}
        gone = set(before) - set(after)
        paths = "\n".join(str(blobs.path(file.sha256)) for file in changed.values())
        shas = self._git("hash-object", "-w", "--no-filters", "--stdin-paths", given=paths.encode()).decode().split()
        lines = [
            f"{'100755' if file.executable else '100644'} {sha}\t{path}\0"
            for (path, file), sha in zip(changed.items(), shas, strict=True)
        ]
        lines += [f"0 {'0' * 40}\t{path}\0" for path in sorted(gone)]
        with tempfile.TemporaryDirectory() as folder:
            index = str(Path(folder) / "index")
            self._git("read-tree", start, index=index)
            self._git("update-index", "-z", "--index-info", given="".join(lines).encode(), index=index)
            return self._git("write-tree", index=index).decode().strip()

    def _maybe(self, *words: str) -> str:
        try:
            return self._git(*words).decode().strip()
        except OutsideWorkspace:
            return ""

    def _git(self, *words: str, given: bytes = b"", index: str = "") -> bytes:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        place = {"GIT_INDEX_FILE": index} if index else {}
        try:
            ended = subprocess.run(
                ["git", *CONFIG, "-C", str(self._path), *words],  # noqa: S607  whichever git the worker's PATH has
                input=given,
                capture_output=True,
                timeout=SECONDS,
                check=False,
                env={**kept, **AUTHOR, "GIT_TERMINAL_PROMPT": "0", **place},
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise OutsideWorkspace(f"git can't be run on {self._path}: {error}") from error
        if ended.returncode:
            said = ended.stderr.decode(errors="replace").strip()
            raise OutsideWorkspace(f"git {words[0]} failed in {self._path}: {said[:500]}")
        return ended.stdout


def _other(one: Artifact | None, two: Artifact) -> bool:
    return one is None or (one.sha256, one.executable) != (two.sha256, two.executable)


def below(tree: Tree, name: str) -> Tree:
    """The files below a folder, by their paths from there."""
    start = f"{name}/"
    return {path.removeprefix(start): file for path, file in tree.items() if path.startswith(start)}
