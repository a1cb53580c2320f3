"""The closing report of a goal whose budget is used up, paid from the part that is kept for it alone."""

from __future__ import annotations

import structlog

from pursuit.models import Entry, Goal
from pursuit.store import Attempt, Fence, Spent
from worker.llm.caller import estimate
from worker.llm.model import ModelError
from worker.prompts import fence, prompt
from worker.roles.view import planner_view
from worker.runtime import Runtime

log = structlog.get_logger(__name__)

#: the journal's name for it
CLOSING = "closing"
MOST = 4_000


async def closing_report(runtime: Runtime, attempt: Attempt, goal: Goal) -> str:
    """What a person should know now, in a model's words; '' where none could be had: the engine's own report has the
    facts. Journaled, so that a resumed attempt doesn't pay for it again."""
    model = runtime.models.of(goal.models.verifier, "verifier")
    if model.profile.rehearsal:
        return ""
    journal = await runtime.store.journal_of(attempt.ref)
    for entry in journal:
        if entry.kind == "notice" and entry.body["name"] == CLOSING:
            return str(entry.body["text"])
    view = runtime.redactor.values(fence("goal", await planner_view(runtime.store, goal)))
    messages = [{"role": "system", "content": prompt("closing")}, {"role": "user", "content": view}]
    beat = await runtime.store.spend(attempt, model.wanted("report", estimate(messages)))
    if beat.over or beat.fence is not Fence.KEPT:
        return ""

    async def waiting(seconds: float, why: str) -> None:
        return None

    try:
        called = await model.call(goal.id, f"{attempt.nonce}:{CLOSING}", messages, [], waiting=waiting)
    except ModelError as error:
        log.info("no closing report", goal=goal.id, error=str(error))
        return ""
    text = runtime.redactor.text(called.answer.text.strip())[:MOST]
    entry = Entry(kind="notice", body={"name": CLOSING, "text": text, "last": False})
    answer = called.answer
    spent = Spent(answer.tokens_in, answer.tokens_out, answer.tokens_cached, answer.micros)
    await runtime.store.journal(attempt, len(journal), [entry], call=spent, note="closes with a report")
    return text
