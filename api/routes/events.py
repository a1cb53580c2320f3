"""A goal's log: as a stream of server-sent events that resumes by id, or as JSON pages."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.state import Here, State
from api.views import EventPage
from pursuit.errors import StoreUnavailable
from pursuit.models import Event
from pursuit.state import FINAL
from pursuit.store.reading import check_event_id

router = APIRouter(tags=["events"])

#: seconds between frames to one viewer, whatever the swarm does
COALESCE = 0.1
PING = 15.0
RETRY_MS = 2000
START = "0"


@router.get(
    "/goals/{goal}/events",
    response_model=EventPage,
    responses={200: {"content": {"text/event-stream": {}}}, 204: {"description": "a final goal's log is read out"}},
)
async def events(
    here: Here,
    request: Request,
    goal: str,
    after: Annotated[str | None, Query(max_length=40, description="id of the last event seen")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    last_event_id: Annotated[str | None, Header()] = None,
) -> EventPage | Response:
    """The goal's events. `Accept: text/event-stream` streams them; otherwise they come in pages."""
    shown = await here.store.goal(goal)
    seen = last_event_id or after
    if seen:
        check_event_id(seen)
    if "text/event-stream" not in request.headers.get("accept", ""):
        page = await here.store.events(goal, after=seen, limit=limit)
        return EventPage(items=page, next_cursor=page[-1].id if len(page) == limit else None)
    if shown.status in FINAL and seen and not await here.store.events(goal, after=seen, limit=1):
        return Response(status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(here, goal, seen), media_type="text/event-stream", headers=headers)


async def _stream(here: State, goal: str, seen: str | None) -> AsyncIterator[bytes]:
    yield f"retry: {RETRY_MS}\n\n".encode()
    after = seen or START
    if seen and seen != START and not await here.store.has_event(goal, seen):
        yield b"event: gap\ndata: {}\n\n"
        after = START
    pinged = time.monotonic()
    while not here.closing.is_set():
        try:
            fresh = await here.store.follow(goal, after, wait=1.0)
        except StoreUnavailable:
            return  # the viewer reconnects and goes on from its last id
        if fresh:
            after = fresh[-1].id
            yield b"".join(frame(event) for event in fresh)
            pinged = time.monotonic()
            await asyncio.sleep(COALESCE)
        elif await here.store.final({goal}):
            return
        elif time.monotonic() - pinged > PING:
            yield b": ping\n\n"
            pinged = time.monotonic()


def frame(event: Event) -> bytes:
    """One event as the stream carries it."""
    body = {"seq": event.seq, "at": event.at.isoformat(), "actor": event.actor, "data": event.data}
    return f"id: {event.id}\nevent: {event.type}\ndata: {json.dumps(body)}\n\n".encode()
