"""Questions of all goals to people, and their answers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from api.state import Here
from api.views import InboxPage
from config.crashpoints import crash_point
from pursuit.contract import Frozen
from pursuit.models import (
    Question,
    goal_of_question,
)

router = APIRouter(tags=["people"])


class Reply(Frozen):
    """A person's answer."""

    answer: Annotated[str, Field(min_length=1, max_length=10_000)]


@router.get("/inbox", response_model=InboxPage)
async def inbox(here: Here) -> InboxPage:
    """The open questions of all goals, oldest first."""
    return InboxPage(items=await here.store.inbox())


@router.post("/questions/{question}/answer", response_model=Question)
async def answer(here: Here, question: str, body: Reply) -> Question:
    """Answers a question; the first answer stands and sets its sub-agent going again."""
    owner = goal_of_question(question)
    await here.store.question(owner, question)
    ref = await here.store.answer(owner, question, body.answer)
    crash_point("after_answer_before_publish")
    await here.publish(ref)
    return await here.store.question(owner, question)
