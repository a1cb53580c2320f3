"""The HTTP client: what the command line uses, and what a program would."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from pursuit.contract import Frozen
from pursuit.errors import PursuitError, ServerUnreachable, tree

#: seconds between tries to get back to an event stream
RECONNECT = 0.5


class Heard(Frozen):
    """One event as it came over the stream; `gap` means that earlier ones are lost and all should be read anew."""

    id: str
    type: str
    seq: int
    at: str
    actor: str
    data: dict[str, Any]


class Client:
    """A Pursuit server. Every method raises the PursuitError that the server's problem document names."""

    def __init__(self, url: str, *, key: str | None = None, timeout: float = 70.0) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    # --- goals --------------------------------------------------------------------------------

    def submit(self, submission: dict[str, Any], *, key: str | None = None) -> dict[str, Any]:
        """Submits a goal; a lost answer is asked for again under the same key, so there is one goal."""
        return self._once("/v1/goals", submission, key)

    def goal(self, goal: str, *, wait: float = 0) -> dict[str, Any]:
        return self._json("GET", f"/v1/goals/{goal}", params={"wait": wait} if wait else None)

    def goals(self, **query: Any) -> dict[str, Any]:
        return self._json("GET", "/v1/goals", params={k: v for k, v in query.items() if v is not None})

    def pause(self, goal: str, *, mode: str = "now", reason: str = "") -> dict[str, Any]:
        return self._command(goal, "pause", {"mode": mode, "reason": reason})

    def resume(self, goal: str, *, reason: str = "", add_budget: Mapping[str, float] | None = None) -> dict[str, Any]:
        return self._command(goal, "resume", {"reason": reason, "add_budget": add_budget or {}})

    def cancel(self, goal: str, *, reason: str = "") -> dict[str, Any]:
        return self._command(goal, "cancel", {"reason": reason})

    def guide(self, goal: str, text: str, *, subtask: str = "") -> dict[str, Any]:
        return self._command(goal, "guidance", {"text": text, "subtask": subtask})

    def amend(self, goal: str, change: dict[str, Any], *, revision: int | None = None) -> dict[str, Any]:
        """Changes a goal; with `revision`, only if it is still at that one (else raises Stale)."""
        headers = {"If-Match": f'"{revision}"'} if revision is not None else {}
        return self._once(f"/v1/goals/{goal}", change, method="PATCH", headers=headers)

    def accept(self, goal: str, *, reason: str = "") -> dict[str, Any]:
        return self._command(goal, "accept", {"reason": reason})

    def fork(self, goal: str, change: dict[str, Any] | None = None, *, key: str | None = None) -> dict[str, Any]:
        return self._once(f"/v1/goals/{goal}/fork", change or {}, key)

    def replay(self, goal: str, *, key: str | None = None) -> dict[str, Any]:
        return self._once(f"/v1/goals/{goal}/replay", {}, key)

    def contracts(self, goal: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._json("GET", f"/v1/goals/{goal}/contracts")["items"]
        return items

    def _command(self, goal: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._once(f"/v1/goals/{goal}/{name}", body)

    def _once(
        self,
        path: str,
        body: dict[str, Any],
        key: str | None = None,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Asked again where the answer was lost on its way; under one key, so it is carried out once."""
        sent = {"Idempotency-Key": key or uuid4().hex, **(headers or {})}
        for attempt in (1, 2, 3):
            try:
                return self._json(method, path, json=body, headers=sent)
            except ServerUnreachable:
                if attempt == 3:
                    raise
                time.sleep(0.3 * attempt)
        raise AssertionError("the loop above returns or raises")

    # --- looking ------------------------------------------------------------------------------

    def rounds(self, goal: str) -> dict[str, Any]:
        return self._json("GET", f"/v1/goals/{goal}/rounds")

    def subtasks(self, goal: str, **query: Any) -> dict[str, Any]:
        wanted = {k: v for k, v in query.items() if v is not None}
        return self._json("GET", f"/v1/goals/{goal}/subtasks", params=wanted)

    def subtask(self, goal: str, subtask: str) -> dict[str, Any]:
        return self._json("GET", f"/v1/goals/{goal}/subtasks/{subtask}")

    def steps(self, goal: str, subtask: str, *, cursor: str | None = None) -> dict[str, Any]:
        params = {"cursor": cursor} if cursor else None
        return self._json("GET", f"/v1/goals/{goal}/subtasks/{subtask}/steps", params=params)

    def event_page(self, goal: str, *, after: str | None = None, limit: int = 1000) -> dict[str, Any]:
        params: dict[str, Any] = {"limit": limit, **({"after": after} if after else {})}
        return self._json("GET", f"/v1/goals/{goal}/events", params=params)

    def report(self, goal: str) -> dict[str, Any]:
        return self._json("GET", f"/v1/goals/{goal}/report")

    def report_text(self, goal: str) -> str:
        return self._send("GET", f"/v1/goals/{goal}/report", params={"format": "markdown"}).text

    def artifacts(self, goal: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._json("GET", f"/v1/goals/{goal}/artifacts")["items"]
        return items

    def download(self, goal: str, path: str, target: Path) -> None:
        """Saves one artifact as a file; a part of it never stands under the file's name."""
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        with self._http.stream("GET", f"/v1/goals/{goal}/artifacts/{path}") as response:
            if response.status_code != 200:
                response.read()
                raise _error(response)
            with part.open("wb") as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)
        part.replace(target)

    def health(self) -> dict[str, Any]:
        return self._json("GET", "/readyz")

    # --- people -------------------------------------------------------------------------------

    def inbox(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._json("GET", "/v1/inbox")["items"]
        return items

    def answer(self, question: str, answer: str) -> dict[str, Any]:
        return self._json("POST", f"/v1/questions/{question}/answer", json={"answer": answer})

    # --- events -------------------------------------------------------------------------------

    def events(self, goal: str, *, after: str | None = None, patience: float = 60.0) -> Iterator[Heard]:
        """The goal's events as they come, to its end; goes on by itself after a lost connection.

        Raises ServerUnreachable when the server is away for longer than `patience` seconds.
        """
        away_since: float | None = None
        while True:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
            try:
                with self._http.stream("GET", f"/v1/goals/{goal}/events", headers=headers) as response:
                    if response.status_code == 204:
                        return
                    if response.status_code != 200:
                        response.read()
                        raise _error(response)
                    away_since = None
                    for heard in _parse(response.iter_lines()):
                        after = heard.id or after
                        yield heard
            except (httpx.TransportError, PursuitError) as error:
                if isinstance(error, PursuitError) and not error.retryable:
                    raise
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > patience:
                    raise ServerUnreachable(f"{self.url} has been away for {patience:.0f} seconds") from error
            time.sleep(RECONNECT)

    # --- the wire -----------------------------------------------------------------------------

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        whole: dict[str, Any] = self._send(method, path, **options).json()
        return whole

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise ServerUnreachable(f"nothing answers at {self.url}: {error}") from error
        if response.status_code >= 400:
            raise _error(response)
        return response


def _error(response: httpx.Response) -> PursuitError:
    """The error that a problem document names; its class by `code`, so that programs can tell them apart."""
    try:
        body = response.json()
    except ValueError:
        body = {}
    kind = tree().get(body.get("code", ""), PursuitError)
    known = {"type", "title", "status", "code", "detail", "action"}
    extra = {name: value for name, value in body.items() if name not in known}
    detail = body.get("detail") or f"the server answered {response.status_code}"
    return kind(detail, action=body.get("action", ""), **extra)


def _parse(lines: Iterator[str]) -> Iterator[Heard]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "event" in fields:
            body = json.loads(fields.get("data") or "{}")
            yield Heard(
                id=fields.get("id", ""),
                type=fields["event"],
                seq=body.get("seq", 0),
                at=body.get("at", ""),
                actor=body.get("actor", "engine"),
                data=body.get("data", {}),
            )
        fields = {}
