"""Larger values by their content: each stored once, under its SHA-256. On a folder, and on a shared store beside it.

Without a remote the folder is all there is. With one (any address that fsspec takes: s3://, gs://, memory://, another
folder) every blob is written through to it, and the folder is a cache: what isn't here is fetched when asked for.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

_NAME = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """A store of blobs. Writing is atomic; a blob never changes."""

    def __init__(self, folder: Path, remote: str = "") -> None:
        self._folder = folder
        self._remote = _Remote(remote) if remote else None

    def path(self, sha256: str) -> Path:
        """Where a blob lies on this machine. Raises ValueError for what is no hash, KeyError for what isn't there."""
        path = self._place(sha256)
        if not path.exists():
            if self._remote is None:
                raise KeyError(sha256)
            self._store(self._remote.get(sha256), path, durable=False)
        return path

    def put(self, content: bytes, *, durable: bool = False) -> str:
        """Stores the bytes; returns their SHA-256. `durable`: they survive a power cut from then on."""
        sha256 = hashlib.sha256(content).hexdigest()
        target = self._place(sha256)
        if not target.exists():
            self._store(content, target, durable=durable)
            if self._remote:
                self._remote.put(sha256, target)
        return sha256

    def put_file(self, source: Path) -> tuple[str, int]:
        """Stores a copy of a file; returns its SHA-256 and size."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._folder)
        copy = Path(name)
        with os.fdopen(handle, "wb") as file, source.open("rb") as original:
            shutil.copyfileobj(original, file)
        with copy.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        target, size = self._place(sha256), copy.stat().st_size
        if target.exists():
            copy.unlink()
            return sha256, size
        target.parent.mkdir(parents=True, exist_ok=True)
        copy.chmod(0o444)
        copy.replace(target)
        if self._remote:
            self._remote.put(sha256, target)
        return sha256, size

    def put_text(self, text: str, *, durable: bool = False) -> str:
        """Stores text compressed; returns the blob's SHA-256."""
        return self.put(zlib.compress(text.encode(), level=1), durable=durable)

    def text(self, sha256: str) -> str:
        return zlib.decompress(self.path(sha256).read_bytes()).decode()

    def _place(self, sha256: str) -> Path:
        if not _NAME.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no SHA-256")
        return self._folder / sha256[:2] / sha256

    def _store(self, content: bytes, target: Path, *, durable: bool) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        # workspaces hold links to it: nobody may write through one
        Path(name).chmod(0o444)
        Path(name).replace(target)


class _Remote:
    """The same blobs on any filesystem that fsspec knows."""

    def __init__(self, address: str) -> None:
        import fsspec

        self._files: Any
        self._files, self._root = fsspec.core.url_to_fs(address)

    def _place(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256}"

    def put(self, sha256: str, source: Path) -> None:
        place = self._place(sha256)
        if self._files.exists(place):
            return
        # under another name first: a reader never finds half of it
        part = f"{place}.{os.getpid()}.part"
        self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(source), part)
        self._files.mv(part, place)

    def get(self, sha256: str) -> bytes:
        try:
            content = bytes(self._files.cat_file(self._place(sha256)))
        except FileNotFoundError as error:
            raise KeyError(sha256) from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise KeyError(f"{sha256}: its content is another one")
        return content
