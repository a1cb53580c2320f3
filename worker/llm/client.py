"""The client of OpenAI-compatible chat completions."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any
from uuid import uuid4

import httpx
from httpx_aiohttp import AiohttpTransport

from config.models import Profile
from worker.llm.model import (
    Answer,
    Garbled,
    Message,
    ModelError,
    NotConfigured,
    RateLimited,
    Rejected,
    ToolCall,
    Unavailable,
)

#: tries of one call; between them 1, 2, 4 ... seconds with jitter, or what Retry-After asks for
TRIES = 5
WAIT_MOST = 60.0
QUOTA_WORDS = ("quota", "insufficient", "billing", "balance", "exceeded your current")


class ChatClient:
    """Calls one model. One instance a process: it shares its connections among all sub-agents.

    The transport is aiohttp's: httpx's own pool scans every connection on each call (docs/performance.md).
    """

    def __init__(self, profile: Profile, *, timeout: float, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.name = f"{profile.provider}:{profile.model}"
        self._model = profile.model
        headers = {"Authorization": f"Bearer {profile.key.get_secret_value()}"} if profile.key else {}
        self._http = httpx.AsyncClient(
            base_url=profile.base_url.rstrip("/") + "/",
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=15, pool=None),
            transport=transport or AiohttpTransport(limits=httpx.Limits(max_connections=1000)),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def answer(self, messages: list[Message], tools: list[dict[str, Any]]) -> Answer:
        """One answer; passing trouble is waited out. Raises a ModelError by its type."""
        for attempt in range(1, TRIES + 1):
            try:
                return await self._once(messages, tools)
            except Unavailable as error:
                if attempt == TRIES:
                    raise
                asked = error.after if isinstance(error, RateLimited) else None
                if asked is not None and asked > WAIT_MOST:
                    raise
                wait = asked if asked is not None else 2 ** (attempt - 1) * random.uniform(0.5, 1)
                await asyncio.sleep(wait)
        raise AssertionError("the loop above returns or raises")

    async def _once(self, messages: list[Message], tools: list[dict[str, Any]]) -> Answer:
        body: dict[str, Any] = {"model": self._model, "messages": messages}
        if tools:
            body["tools"] = tools
        try:
            response = await self._http.post("chat/completions", json=body)
        except (httpx.TransportError, TimeoutError, OSError) as error:
            raise Unavailable(f"{self.name}: {type(error).__name__} {error}") from error
        if response.status_code != 200:
            raise _error(self.name, response)
        return _answer(self.name, response)


def _error(name: str, response: httpx.Response) -> ModelError:
    text = f"{name} answered {response.status_code}: {response.text[:500]}"
    status, said = response.status_code, response.text.lower()
    quota = status in (402, 403, 429) and any(word in said for word in QUOTA_WORDS)
    if status in (401, 403, 404) or quota:
        return NotConfigured(text)
    if status == 429:
        after = response.headers.get("retry-after", "")
        return RateLimited(text, float(after) if after.replace(".", "", 1).isdigit() else None)
    if status in (408, 409, 425) or status >= 500:
        return Unavailable(text)
    return Rejected(text)


def _answer(name: str, response: httpx.Response) -> Answer:
    try:
        whole = response.json()
        choice = whole["choices"][0]
        message = choice["message"]
        usage = whole.get("usage") or {}
        calls = _calls(message.get("tool_calls") or ())
        extra = {"reasoning_content": message["reasoning_content"]} if message.get("reasoning_content") else {}
        text = message.get("content")
        return Answer(
            text=_valid(text) if isinstance(text, str) else "",
            calls=calls,
            tokens_in=int(usage.get("prompt_tokens") or 0),
            tokens_out=int(usage.get("completion_tokens") or 0),
            extra=extra,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Garbled(f"{name} answered no chat completion: {response.text[:300]!r}") from error


def _calls(written: Any) -> tuple[ToolCall, ...]:
    """The tool calls, each with an id of its own: some endpoints forget them or give one twice."""
    calls: list[ToolCall] = []
    for call in written:
        name = str(call.get("id") or "")
        if not name or any(name == other.id for other in calls):
            name = f"call_{uuid4().hex[:12]}"
        function = call["function"]
        calls.append(ToolCall(id=name, name=str(function["name"]), arguments=_as_text(function.get("arguments"))))
    return tuple(calls)


def _as_text(arguments: Any) -> str:
    return _valid(arguments) if isinstance(arguments, str) else json.dumps(arguments or {})


def _valid(text: str) -> str:
    """The text without lone surrogates, which JSON may smuggle in and nothing can store."""
    return text.encode("utf-8", "replace").decode()
