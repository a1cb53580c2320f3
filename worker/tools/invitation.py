"""Write a calendar invitation (.ics)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from icalendar import Calendar, Event, vCalAddress
from pydantic import AwareDatetime, Field

from worker.tools.registry import Effect, ToolContext, tool


@tool(Effect.REPEATABLE)
async def write_invitation(
    ctx: ToolContext,
    path: Annotated[str, Field(pattern=r"\.ics$", description="ends in .ics")],
    title: Annotated[str, Field(min_length=1, max_length=500)],
    start: Annotated[AwareDatetime, Field(description="with time zone, such as 2026-12-01T09:00:00Z")],
    minutes: Annotated[int, Field(ge=1, le=60 * 24 * 14)] = 30,
    description: Annotated[str, Field(max_length=10_000)] = "",
    location: Annotated[str, Field(max_length=500)] = "",
    attendees: Annotated[list[str], Field(max_length=100, description="e-mail addresses")] = [],  # noqa: B006
) -> dict[str, Any]:
    """Write an iCalendar invitation with one event, inside your write scope. Nothing is sent to anybody."""
    event = Event()
    event.add("uid", f"{ctx.key}@pursuit")
    event.add("dtstamp", datetime.now(UTC))
    event.add("dtstart", start.astimezone(UTC))
    event.add("dtend", start.astimezone(UTC) + timedelta(minutes=minutes))
    event.add("summary", title)
    if description:
        event.add("description", description)
    if location:
        event.add("location", location)
    for address in attendees:
        event.add("attendee", vCalAddress(f"mailto:{address}"))
    calendar = Calendar()
    calendar.add("prodid", "-//Pursuit//EN")
    calendar.add("version", "2.0")
    # PUBLISH: a REQUEST would need an organizer, and nobody was asked to be one
    calendar.add("method", "PUBLISH")
    calendar.add_component(event)
    await asyncio.to_thread(ctx.workspace.write, path, calendar.to_ical(), ctx.write_scope)
    return {"written": path, "start": start.isoformat(), "minutes": minutes}
