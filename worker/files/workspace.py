"""A goal's workspace as one job sees it: inputs, the committed files, and on top of them a layer of its own.

The committed files lie in a folder that nobody writes to. What a sub-agent writes goes into its layer, which is rebuilt
from the journal by whoever goes on with the job: a write that was not recorded has not happened.
"""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pursuit.blobs import Blobs
from pursuit.contract import Frozen
from pursuit.models import Artifact, Input, input_name
from pursuit.tree import Tree, covered

INPUTS = "inputs"
#: names that stand in the way of nobody: what Python and the tools of tests leave behind isn't work
LITTER = frozenset({"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".git", ".hypothesis"})


class OutsideWorkspace(ValueError):
    """A path leads out of the workspace, or may not be written."""


class Written(Frozen):
    """What a call has left at a path; without content, it was deleted."""

    sha256: str
    size: int = 0
    executable: bool = False


class Workspace:
    """The files of a goal. `inputs/<name>` are links to what the person named, read-only to tools.

    `root` holds the committed files; with a `layer` folder and `blobs` it can be written on top of them.
    """

    def __init__(
        self,
        root: Path,
        inputs: Iterable[Input] = (),
        allowed_roots: Iterable[Path] = (),
        *,
        tree: Tree | None = None,
        layer: Path | None = None,
        blobs: Blobs | None = None,
        boundaries: tuple[str, ...] = (),
    ) -> None:
        self.root, self.tree, self._layer, self._blobs = root, tree or {}, layer, blobs
        self._allowed = [path.resolve() for path in allowed_roots]
        self._boundaries = boundaries
        self.mounts = {input_name(item): self._source(item) for item in inputs if not item.edit}
        #: what the layer holds, by path; shared by all calls of a job
        self.layer: dict[str, Written] = {}
        #: what this call has changed
        self.changes: dict[str, Written] = {}
        #: by path, how the files of a layer that was filled up for commands looked when they were put there
        self._stood: dict[str, tuple[int, int, int, int]] = {}
        self._whole: list[bool] = []

    def prepare(self) -> None:
        """Makes the folder and its input links; safe to repeat, and from several workers at once."""
        self._link_inputs(self.root)
        if self._layer is not None:
            self._layer.mkdir(parents=True, exist_ok=True)

    def _link_inputs(self, root: Path) -> None:
        inputs = root / INPUTS
        inputs.mkdir(parents=True, exist_ok=True)
        for name, source in self.mounts.items():
            link = inputs / name
            if not link.is_symlink():
                try:
                    link.symlink_to(source)
                except FileExistsError:  # another worker was quicker
                    continue

    def for_call(self) -> Workspace:
        """The same workspace, noting changes apart from those of other calls."""
        own = copy.copy(self)
        own.changes = {}
        return own

    # --- looking --------------------------------------------------------------------------------

    def readable(self, path: str) -> Path:
        """The real path behind a workspace path. Raises OutsideWorkspace."""
        clean = _clean(path)
        parts = clean.split("/")
        if parts[0] == INPUTS and len(parts) > 1:
            if parts[1] not in self.mounts:
                names = ", ".join(sorted(self.mounts)) or "none"
                raise OutsideWorkspace(f"there is no input {parts[1]!r}; inputs are: {names}")
            source = self.mounts[parts[1]]
            real = source.joinpath(*parts[2:]).resolve()
            return _inside(real, source, path)
        if self._layer is not None:
            upper = self._layer.resolve()
            written = _inside((upper / clean).resolve(), upper, path)
            if self._whole or written.is_file() or clean in self.layer:
                return written  # of a deleted file: a path at which nothing is
        return _inside((self.root / clean).resolve(), self.root.resolve(), path)

    def files(self, pattern: str) -> Iterator[tuple[str, Path]]:
        """Workspace paths and real paths that match a glob, sorted; what leads outside is left out."""
        clean = _clean(pattern) or "*"
        parts = clean.split("/")
        if parts[0] == INPUTS and len(parts) > 1:
            base, prefix, rest = self.readable("/".join(parts[:2])), "/".join(parts[:2]), "/".join(parts[2:])
            yield from _matches(base, prefix, rest)
            return
        found: dict[str, Path] = {}
        if not self._whole:
            found |= dict(_matches(self.root.resolve(), "", clean))
        if self._layer is not None:
            found |= dict(_matches(self._layer.resolve(), "", clean))
        gone = {path for path, written in self.layer.items() if not written.sha256}
        yield from sorted((shown, real) for shown, real in found.items() if shown not in gone)

    # --- writing --------------------------------------------------------------------------------

    def writable(self, path: str, scope: tuple[str, ...]) -> Path:
        """The real path of what stands at a path that may be written. Raises OutsideWorkspace."""
        clean = _clean(path)
        if clean == INPUTS or clean.startswith(INPUTS + "/"):
            raise OutsideWorkspace("inputs are read-only; write elsewhere")
        if covered(clean, self._boundaries):
            raise OutsideWorkspace(f"{clean!r} lies in the goal's boundaries: nobody may write it")
        if not covered(clean, scope):
            raise OutsideWorkspace(f"{clean!r} is outside your write scope: {', '.join(scope)}")
        return self.readable(clean)

    def write(self, path: str, content: bytes, scope: tuple[str, ...]) -> None:
        """Writes a whole file at once: a reader sees the old or the new one, never half."""
        if self._layer is None or self._blobs is None:
            raise OutsideWorkspace("this workspace can only be read")
        there = self.writable(path, scope)
        executable = there.is_file() and os.access(there, os.X_OK)
        self._keep(_clean(path), Written(sha256=self._blobs.put(content), size=len(content), executable=executable))

    def restore(self, changes: Mapping[str, Written]) -> None:
        """Brings the layer to where recorded calls have left it."""
        for path, written in changes.items():
            self._keep(path, written)
        self.changes.clear()

    def _keep(self, path: str, written: Written) -> None:
        if self._layer is None or self._blobs is None:
            raise OutsideWorkspace("this workspace can only be read")
        target = _inside((self._layer / path).resolve(), self._layer.resolve(), path)
        if written.sha256:
            try:
                self._put(path, written)
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise OutsideWorkspace(f"{path!r}: a file and a folder can't have the same name") from error
        else:
            target.unlink(missing_ok=True)
        self.layer[path] = self.changes[path] = written

    def written(self, ref_round: int, subtask: str) -> list[Artifact]:
        """The layer as files, each with the content that was there before."""
        found = []
        for path, written in sorted(self.layer.items()):
            was = self.tree[path].sha256 if path in self.tree else ""
            if written.sha256 != was:
                found.append(
                    Artifact(
                        path=path,
                        sha256=written.sha256,
                        size=written.size,
                        round=ref_round,
                        subtask=subtask,
                        executable=written.executable,
                        was=was,
                    )
                )
        return found

    # --- commands -------------------------------------------------------------------------------

    def folder(self) -> Path:
        """A folder with all files in it, for a command to work in: the layer itself, filled up with what lies below."""
        if self._layer is None or self._blobs is None:
            raise OutsideWorkspace("no command can be run here")
        if not self._whole:
            for path, file in self.tree.items():
                if path not in self.layer:
                    self._put(path, Written(sha256=file.sha256, executable=file.executable))
            self._link_inputs(self._layer)
            self._whole.append(True)
        return self._layer

    def note_changes(self, scope: tuple[str, ...]) -> list[str]:
        """Records what a command has done to the files within the write scope; returns what it did beyond, undone."""
        if self._layer is None or self._blobs is None:
            return []
        beyond = []
        there = dict(tracked(self._layer))
        for path, real in there.items():
            known = self._known(path)
            if known and self._stood.get(path) == _look(real):
                continue
            executable = os.access(real, os.X_OK)
            sha256, size = self._blobs.put_file(real)
            if known and known.sha256 == sha256 and known.executable == executable:
                continue
            now = Written(sha256=sha256, size=size, executable=executable)
            if self._may(path, scope):
                self._keep(path, now)
            else:
                beyond.append(path)
                self._put_back(path, known)
        gone = {path for path in (*self.tree, *self.layer) if self._known(path)} - set(there)
        for path in sorted(gone):
            if self._may(path, scope):
                self._keep(path, Written(sha256=""))
            else:
                beyond.append(path)
                self._put_back(path, self._known(path))
        return beyond

    def _known(self, path: str) -> Written | None:
        """What should stand at a path, as far as is recorded."""
        if path in self.layer:
            return self.layer[path] if self.layer[path].sha256 else None
        file = self.tree.get(path)
        return Written(sha256=file.sha256, size=file.size, executable=file.executable) if file else None

    def _may(self, path: str, scope: tuple[str, ...]) -> bool:
        return covered(path, scope) and not covered(path, self._boundaries)

    def _put_back(self, path: str, known: Written | None) -> None:
        if known:
            self._put(path, known)
        elif self._layer is not None:
            (self._layer / path).unlink(missing_ok=True)

    def _put(self, path: str, written: Written) -> None:
        if self._layer is None or self._blobs is None:
            raise OutsideWorkspace("this workspace can only be read")
        target = self._layer / path
        target.parent.mkdir(parents=True, exist_ok=True)
        place(self._blobs.path(written.sha256), target, executable=written.executable)
        self._stood[path] = _look(target)

    def discard(self) -> None:
        """Removes the layer's folder; what counts of it is recorded."""
        if self._layer is not None:
            shutil.rmtree(self._layer, ignore_errors=True)

    def _source(self, item: Input) -> Path:
        source = Path(item.path).expanduser().resolve()
        if self._allowed and not any(source.is_relative_to(root) for root in self._allowed):
            raise OutsideWorkspace(f"input {item.path!r} lies in none of the allowed folders")
        if not source.exists():
            raise OutsideWorkspace(f"input {item.path!r} isn't there on this worker's machine")
        return source


def place(blob: Path, target: Path, *, executable: bool) -> None:
    """Puts a copy of a blob's content at a path, in one step."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".pursuit-")
    os.close(handle)
    part = Path(name)
    shutil.copyfile(blob, part)
    part.chmod(0o755 if executable else 0o644)
    part.replace(target)


def _look(real: Path) -> tuple[int, int, int, int]:
    seen = real.stat()
    return seen.st_ino, seen.st_mtime_ns, seen.st_size, seen.st_mode


def tracked(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a folder that count as work: no links, no litter, no inputs."""
    for parent, folders, names in os.walk(folder):
        here = Path(parent)
        top = here == folder
        folders[:] = sorted(name for name in folders if name not in LITTER and not (top and name == INPUTS))
        for name in sorted(names):
            real = here / name
            if not name.startswith(".pursuit-") and not real.is_symlink() and real.is_file():
                yield real.relative_to(folder).as_posix(), real


def _matches(base: Path, prefix: str, rest: str) -> Iterator[tuple[str, Path]]:
    found = base.glob(rest) if rest else iter([base])
    for real in sorted(found):
        if real.name.startswith(".pursuit-"):
            continue
        inside = real.relative_to(base).as_posix()
        shown = "/".join(part for part in (prefix, "" if inside == "." else inside) if part)
        if real.is_symlink() and not real.resolve().is_relative_to(base):
            continue
        yield shown, real


def _inside(real: Path, root: Path, path: str) -> Path:
    if real != root and not real.is_relative_to(root):
        raise OutsideWorkspace(f"{path!r} leads out of the workspace")
    return real


def _clean(path: str) -> str:
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    if path.startswith(("/", "~")) or ".." in parts or "\0" in path:
        raise OutsideWorkspace(f"{path!r} must be a path inside the workspace, without '..'")
    return "/".join(parts)
