"""Larger values by their content: each stored once, under its SHA-256. On a local or shared folder."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import zlib
from pathlib import Path

_NAME = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """A folder of blobs. Writing is atomic; a blob never changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, sha256: str) -> Path:
        """Where a blob lies. Raises ValueError for what is no SHA-256, KeyError for one that isn't here."""
        if not _NAME.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no SHA-256")
        path = self._folder / sha256[:2] / sha256
        if not path.exists():
            raise KeyError(sha256)
        return path

    def put(self, content: bytes, *, durable: bool = False) -> str:
        """Stores the bytes; returns their SHA-256. `durable`: they survive a power cut from then on."""
        sha256 = hashlib.sha256(content).hexdigest()
        target = self._folder / sha256[:2] / sha256
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=target.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            Path(name).replace(target)
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
        target = self._folder / sha256[:2] / sha256
        target.parent.mkdir(parents=True, exist_ok=True)
        size = copy.stat().st_size
        copy.replace(target)
        return sha256, size

    def put_text(self, text: str, *, durable: bool = False) -> str:
        """Stores text compressed; returns the blob's SHA-256."""
        return self.put(zlib.compress(text.encode(), level=1), durable=durable)

    def text(self, sha256: str) -> str:
        return zlib.decompress(self.path(sha256).read_bytes()).decode()
