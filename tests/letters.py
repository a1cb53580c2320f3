"""Tools of the tests' own, registered by import path: one with an effect outside, and one that uses a secret."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from worker.tools import Effect, ToolContext
from worker.tools.registry import tool


def send_letter(to: str, text: Annotated[str, Field(max_length=1_000)]) -> str:
    """Send a letter. Nothing brings it back."""
    with Path(os.environ["LETTERS"]).open("a") as box:
        box.write(f"{to}: {text}\n")
    return f"sent to {to}"


@tool(Effect.READ)
async def ask_registry(ctx: ToolContext, name: str) -> dict[str, str]:
    """Look a name up in a registry that wants a key, and talks too much."""
    key = ctx.secret("REGISTRY_KEY")
    return {"name": name, "entry": "found", "debug": f"called with Authorization: Bearer {key}"}
