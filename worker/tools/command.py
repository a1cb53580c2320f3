"""Run a command in the goal's workspace, inside the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pursuit.contract import Frozen
from worker.tools.registry import Effect, ToolContext, ToolError, cut, tool
from worker.tools.sandbox import Sandbox

OUTPUT_MOST = 20_000


class Outcome(Frozen):
    """What a command came to. `code` is None when it was stopped."""

    code: int | None
    output: str
    seconds: float


async def execute(
    sandbox: Sandbox, command: str, folder: Path, readable: Sequence[Path], *, timeout: float, **over: Any
) -> Outcome:
    """Runs a shell command in a folder; the middle of a long output is cut out."""
    ended = await sandbox.execute(command, folder, timeout=timeout, readable=readable, **over)
    text = "\n".join(part for part in (ended.output.decode(errors="replace"), ended.why) if part)
    return Outcome(code=ended.code, output=cut(text, OUTPUT_MOST), seconds=ended.seconds)


@tool(Effect.REPEATABLE)
async def run_command(
    ctx: ToolContext,
    command: Annotated[str, Field(min_length=1, max_length=4_000, description="run by /bin/sh in the workspace")],
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 120,
    secrets: Annotated[
        list[str], Field(max_length=10, description="names of secrets to be set as environment variables")
    ] = [],  # noqa: B006
) -> dict[str, Any]:
    """Run a shell command in the workspace and get its exit code and output. There is no network unless granted.

    What it does to files outside your write scope is undone.
    """
    if ctx.sandbox is None:
        raise ToolError("commands are off on this worker")
    environment = {name: ctx.secret(name) for name in secrets}
    network = bool(ctx.network_allow)
    folder = await asyncio.to_thread(ctx.workspace.folder)
    readable = list(ctx.workspace.mounts.values())
    outcome = await execute(
        ctx.sandbox, command, folder, readable, timeout=timeout_seconds, network=network, environment=environment
    )
    undone = await asyncio.to_thread(ctx.workspace.note_changes, ctx.write_scope)
    said: dict[str, Any] = outcome.model_dump()
    if undone:
        said["undone"] = f"outside your write scope, so put back as it was: {', '.join(undone[:20])}"
    return said
