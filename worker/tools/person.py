"""Ask a person. The sub-agent is parked until somebody answers."""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import Field

from pursuit.models import question_id
from worker.tools.registry import Effect, NeedsAnswer, ToolContext, tool


@tool(Effect.READ)
async def ask_person(
    ctx: ToolContext,
    question: Annotated[str, Field(min_length=1, max_length=2_000)],
    options: Annotated[list[str], Field(max_length=8, description="answers to choose from, if any")] = [],  # noqa: B006
) -> str:
    """Ask a person something that only a person can decide. You get the answer when it is given."""
    # the same question of the same call has the same id, so a resumed attempt finds its answer
    name = question_id(ctx.ref.goal, hashlib.sha256(ctx.key.encode()).hexdigest()[:16])
    answer = await ctx.answer_to(name)
    if answer is None:
        raise NeedsAnswer(name, question, tuple(options))
    return answer
