"""A goal's workspace: where sub-agents read and write, and the guards that keep them inside it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from pursuit.models import Input, input_name

INPUTS = "inputs"


class OutsideWorkspace(ValueError):
    """A path leads out of the workspace, or may not be written."""


class Workspace:
    """The folder of one goal. `inputs/<name>` are links to what the person named, read-only to tools."""

    def __init__(self, root: Path, inputs: Iterable[Input] = (), allowed_roots: Iterable[Path] = ()) -> None:
        self.root = root
        self._allowed = [path.resolve() for path in allowed_roots]
        self.mounts = {input_name(item): self._source(item) for item in inputs}

    def prepare(self) -> None:
        """Makes the folder and its input links; safe to repeat, and from several workers at once."""
        inputs = self.root / INPUTS
        inputs.mkdir(parents=True, exist_ok=True)
        for name, source in self.mounts.items():
            link = inputs / name
            if not link.is_symlink():
                try:
                    link.symlink_to(source)
                except FileExistsError:  # another worker was quicker
                    continue

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
            return self._inside(real, source, path)
        return self._inside((self.root / clean).resolve(), self.root.resolve(), path)

    def writable(self, path: str, scope: tuple[str, ...]) -> Path:
        """The real path to write, if it lies in the write scope. Raises OutsideWorkspace."""
        clean = _clean(path)
        if clean == INPUTS or clean.startswith(INPUTS + "/"):
            raise OutsideWorkspace("inputs are read-only; write elsewhere")
        if not any(s in ("", ".") or clean == s or clean.startswith(s.rstrip("/") + "/") for s in scope):
            raise OutsideWorkspace(f"{clean!r} is outside your write scope: {', '.join(scope)}")
        return self._inside((self.root / clean).resolve(), self.root.resolve(), path)

    def write(self, path: str, content: bytes, scope: tuple[str, ...]) -> None:
        """Writes a whole file at once: a reader sees the old or the new one, never half."""
        target = self.writable(path, scope)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".pursuit-")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(target)

    def files(self, pattern: str) -> Iterator[tuple[str, Path]]:
        """Workspace paths and real paths that match a glob, sorted; what leads outside is left out."""
        clean = _clean(pattern) or "*"
        parts = clean.split("/")
        if parts[0] == INPUTS and len(parts) > 1:
            base, prefix, rest = self.readable("/".join(parts[:2])), "/".join(parts[:2]), "/".join(parts[2:])
        else:
            base, prefix, rest = self.root.resolve(), "", clean
        found = base.glob(rest) if rest else iter([base])
        for real in sorted(found):
            if real.name.startswith(".pursuit-"):
                continue
            inside = real.relative_to(base).as_posix()
            shown = "/".join(part for part in (prefix, "" if inside == "." else inside) if part)
            if real.is_symlink() and not real.resolve().is_relative_to(base):
                continue
            yield shown, real

    def _inside(self, real: Path, root: Path, path: str) -> Path:
        if real != root and not real.is_relative_to(root):
            raise OutsideWorkspace(f"{path!r} leads out of the workspace")
        return real

    def _source(self, item: Input) -> Path:
        source = Path(item.path).expanduser().resolve()
        if self._allowed and not any(source.is_relative_to(root) for root in self._allowed):
            raise OutsideWorkspace(f"input {item.path!r} lies in none of the allowed folders")
        if not source.exists():
            raise OutsideWorkspace(f"input {item.path!r} isn't there on this worker's machine")
        return source


def _clean(path: str) -> str:
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    if path.startswith(("/", "~")) or ".." in parts or "\0" in path:
        raise OutsideWorkspace(f"{path!r} must be a path inside the workspace, without '..'")
    return "/".join(parts)
