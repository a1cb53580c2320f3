"""Compare files with a list of hashes: a wheel's RECORD, or the output of sha256sum."""

from __future__ import annotations

import asyncio
import base64
import csv
import hashlib
import posixpath
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from worker.files.workspace import OutsideWorkspace
from worker.tools.registry import Effect, ToolContext, ToolError, tool


@tool(Effect.READ)
async def check_hashes(
    ctx: ToolContext,
    path: Annotated[str, Field(description="a RECORD file of an installed package, or a file made by sha256sum")],
) -> dict[str, Any]:
    """Compare files with the SHA-256 hashes that a list names; tells which have changed or are missing."""
    return await asyncio.to_thread(_check, ctx, path)


def _check(ctx: ToolContext, path: str) -> dict[str, Any]:
    listing = ctx.workspace.readable(path)
    if not listing.is_file():
        raise ToolError(f"there is no file {path!r}")
    record = listing.name == "RECORD"
    folder = posixpath.dirname(path)
    # a RECORD names files from the folder that holds its own; sha256sum from the folder of the list
    base = posixpath.dirname(folder) if record else folder
    rows = _record(listing.read_text()) if record else _sums(listing.read_text())
    checked, changed, missing, outside = 0, [], [], []
    for name, digest in rows:
        try:
            real = ctx.workspace.readable(posixpath.normpath(posixpath.join(base, name)))
        except OutsideWorkspace:
            outside.append(name)
            continue
        if not real.is_file():
            missing.append(name)
            continue
        checked += 1
        with real.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                changed.append(name)
    return {
        "checked": checked,
        "changed": changed[:200],
        "missing": missing[:200],
        "outside": len(outside),
    }


def _record(text: str) -> Iterator[tuple[str, str]]:
    """The RECORD of an installed wheel: path, sha256=<urlsafe base64>, size (PEP 376, PEP 427)."""
    for row in csv.reader(text.splitlines()):
        if len(row) >= 2 and row[1].startswith("sha256="):
            digest = row[1].removeprefix("sha256=")
            yield row[0], base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex()


def _sums(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        digest, _, name = line.partition(" ")
        if len(digest) == 64:
            yield name.lstrip(" *"), digest.lower()
