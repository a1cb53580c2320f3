"""Read on where something was too long to be shown whole: tool results, digests."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from pydantic import Field

from worker.tools.registry import Effect, ToolContext, ToolError, tool

PART = 20_000


@tool(Effect.READ)
async def read_output(
    ctx: ToolContext,
    output: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="the name given where the result was cut")],
    offset: Annotated[int, Field(ge=0, description="first character to read")] = 0,
) -> dict[str, Any]:
    """Read a part of an earlier tool result that was cut. `next` is the offset to go on from, or null at the end."""
    try:
        text = await asyncio.to_thread(ctx.kept, output)
    except (KeyError, OSError) as error:
        raise ToolError(f"there is no output {output[:12]}… any more; make the call again") from error
    part = text[offset : offset + min(PART, ctx.most // 2)]
    end = offset + len(part)
    return {"text": part, "characters": len(text), "next": end if end < len(text) else None}


@tool(Effect.READ)
async def read_digest(
    ctx: ToolContext, subtask: Annotated[str, Field(pattern=r"^r\d+-\d{3}$", description="such as r2-017")]
) -> str:
    """Read the whole digest of a sub-agent of an earlier round; you are shown the beginnings only."""
    digest = await ctx.digest(subtask)
    if digest is None:
        raise ToolError(f"there is no digest of {subtask}")
    return digest
