"""Run a command in the workspace. Off unless the settings allow it: there is no sandbox yet."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pursuit.models import Frozen
from worker.tools.registry import Effect, ToolContext, cut, tool

OUTPUT_MOST = 20_000


class Outcome(Frozen):
    """What a command came to. `code` is None when it ran out of time."""

    code: int | None
    output: str
    seconds: float


async def execute(command: str, folder: Path, *, timeout: float) -> Outcome:
    """Runs a shell command with a bare environment; its whole process group is gone afterwards."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        command,
        cwd=folder,
        env=_environment(folder),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), timeout)
        code: int | None = process.returncode
    except TimeoutError:
        output, code = f"stopped after {timeout:g} seconds".encode(), None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    text = cut(output.decode(errors="replace"), OUTPUT_MOST)
    return Outcome(code=code, output=text, seconds=round(time.monotonic() - began, 3))


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of the worker's own environment: it holds keys. The interpreter of Pursuit is `python`."""
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


@tool(Effect.REPEATABLE)
async def run_command(
    ctx: ToolContext,
    command: Annotated[str, Field(min_length=1, max_length=4_000, description="run by /bin/sh in the workspace")],
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 120,
) -> dict[str, Any]:
    """Run a shell command in the workspace and get its exit code and output."""
    outcome = await execute(command, ctx.workspace.root, timeout=timeout_seconds)
    return outcome.model_dump()
