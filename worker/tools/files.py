"""List, read, search and write files in the goal's workspace."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import regex
from pydantic import Field

from worker.tools.registry import Effect, ToolContext, ToolError, tool

READ_MOST = 100_000
LIST_MOST = 2_000
MATCHES_MOST = 500
#: of one expression on one line: Python's own `re` could hold a whole worker process for hours
SEARCH_SECONDS = 1.0

PathArgument = Annotated[str, Field(description="path in the workspace, such as notes/a.md or inputs/data/x.csv")]
Pattern = Annotated[str, Field(description="glob in the workspace, such as notes/*.md or inputs/code/**/*.py")]


@tool(Effect.READ)
async def list_files(
    ctx: ToolContext,
    pattern: Pattern = "**/*",
    folders: Annotated[bool, Field(description="list folders instead of files")] = False,
) -> dict[str, Any]:
    """List the files (or folders) of the workspace that match a glob, with their sizes."""

    def look() -> dict[str, Any]:
        rows: list[dict[str, Any]] = []
        total = 0
        for shown, real in ctx.workspace.files(pattern):
            if real.is_dir() is not folders:
                continue
            total += 1
            if len(rows) < LIST_MOST:
                rows.append({"path": shown} if folders else {"path": shown, "size": real.stat().st_size})
        return {"files": rows, "total": total}

    return await asyncio.to_thread(look)


@tool(Effect.READ)
async def read_file(
    ctx: ToolContext,
    path: PathArgument,
    offset: Annotated[int, Field(ge=0, description="first character to read")] = 0,
    limit: Annotated[int, Field(ge=1, le=READ_MOST, description="characters to read at most")] = READ_MOST,
) -> dict[str, Any]:
    """Read a text file, or a part of it. `next` is the offset to go on from, or null at the end."""
    text = await asyncio.to_thread(_text, ctx.workspace.readable(path), path)
    part = text[offset : offset + limit]
    end = offset + len(part)
    return {"text": part, "characters": len(text), "next": end if end < len(text) else None}


@tool(Effect.READ)
async def read_files(
    ctx: ToolContext,
    pattern: Pattern,
    after: Annotated[str, Field(description="go on after this path; '' from the start")] = "",
) -> dict[str, Any]:
    """Read all text files that match a glob, as many as fit. `next` is the `after` to go on with, or null."""

    def look() -> dict[str, Any]:
        found: list[dict[str, str]] = []
        used = 0
        for shown, real in ctx.workspace.files(pattern):
            if shown <= after or real.is_dir():
                continue
            text = _text(real, shown)
            if found and used + len(text) > READ_MOST:
                return {"files": found, "next": found[-1]["path"]}
            found.append({"path": shown, "text": text[:READ_MOST]})
            used += len(text)
        return {"files": found, "next": None}

    return await asyncio.to_thread(look)


@tool(Effect.READ)
async def search_files(
    ctx: ToolContext,
    expression: Annotated[str, Field(min_length=1, max_length=500, description="regular expression")],
    pattern: Pattern = "**/*",
) -> dict[str, Any]:
    """Find lines that match a regular expression in the text files that match a glob."""
    try:
        wanted = regex.compile(expression)
    except regex.error as error:
        raise ToolError(f"the expression can't be compiled: {error}") from error

    def look() -> dict[str, Any]:
        rows: list[dict[str, Any]] = []
        total = 0
        for shown, real in ctx.workspace.files(pattern):
            if real.is_dir() or real.stat().st_size > 5_000_000:
                continue
            for number, line in enumerate(real.read_text(errors="replace").splitlines(), 1):
                if wanted.search(line, timeout=SEARCH_SECONDS, concurrent=True):
                    total += 1
                    if len(rows) < MATCHES_MOST:
                        rows.append({"path": shown, "line": number, "text": line[:500]})
        return {"matches": rows, "total": total}

    try:
        return await asyncio.to_thread(look)
    except TimeoutError as error:
        raise ToolError("the expression takes too long to match; use a simpler one") from error


@tool(Effect.REPEATABLE)
async def write_file(
    ctx: ToolContext, path: PathArgument, content: Annotated[str, Field(max_length=1_000_000)]
) -> dict[str, Any]:
    """Write a text file as a whole, inside your write scope."""
    data = content.encode()
    await asyncio.to_thread(ctx.workspace.write, path, data, ctx.write_scope)
    return {"written": path, "size": len(data)}


@tool(Effect.REPEATABLE)
async def edit_file(
    ctx: ToolContext,
    path: PathArgument,
    old: Annotated[str, Field(min_length=1, max_length=100_000, description="text that stands there exactly once")],
    new: Annotated[str, Field(max_length=1_000_000, description="text to put in its place")],
) -> dict[str, Any]:
    """Replace a passage of a text file, inside your write scope."""

    def change() -> int:
        text = _text(ctx.workspace.writable(path, ctx.write_scope), path)
        times = text.count(old)
        if times == 0 and new and text.count(new) == 1:
            return len(text.encode())  # done already: a crash came between the change and its record
        if times != 1:
            raise ToolError(f"the text stands in {path!r} {times} times; it must be there exactly once")
        data = text.replace(old, new).encode()
        ctx.workspace.write(path, data, ctx.write_scope)
        return len(data)

    return {"written": path, "size": await asyncio.to_thread(change)}


def _text(real: Path, shown: str) -> str:
    if not real.exists():
        raise ToolError(f"there is no file {shown!r}")
    if real.is_dir():
        raise ToolError(f"{shown!r} is a folder; use list_files")
    if real.stat().st_size > 20_000_000:
        raise ToolError(f"{shown!r} is too large to read ({real.stat().st_size} bytes); use search_files")
    return real.read_text(errors="replace")
