"""The client of OpenAI-compatible chat completions: one call, once, streamed or not. Tries are its caller's."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
from httpx_aiohttp import AiohttpTransport

from config.models import Profile
from worker.llm.completion import Pieces, answer_of
from worker.llm.model import Answer, CutOff, Garbled, Message, TimedOut, Unavailable
from worker.llm.trouble import error_of

#: bytes of an answer that are read at most; a stream without end is no answer
MOST = 16_000_000


class ChatClient:
    """Calls one model. One instance a process: it shares its connections among all sub-agents.

    The transport is aiohttp's: httpx's own pool scans every connection on each call (docs/performance.md).
    `timeout` is of a whole call, `stall` between two pieces of a stream; seconds.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        timeout: float,
        stall: float | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = profile.name
        self._profile, self._timeout, self._stall = profile, timeout, stall or timeout
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

    async def answer(self, messages: list[Message], tools: list[dict[str, Any]], *, only: str = "") -> Answer:
        """One answer. `only` names the one tool that it must call. Raises a ModelError by its type."""
        body = self._body(messages, tools, only)
        deadline = time.monotonic() + self._timeout
        try:
            async with (
                asyncio.timeout(self._timeout) as limit,
                self._http.stream("POST", "chat/completions", json=body) as response,
            ):
                if response.status_code != 200:
                    await response.aread()
                    raise error_of(self.name, response)
                if response.headers.get("content-type", "").startswith("text/event-stream"):
                    whole = await self._streamed(response, limit, deadline)
                else:
                    whole = _json(self.name, await self._read(response))
        except (TimeoutError, httpx.TimeoutException) as error:
            raise TimedOut(f"{self.name}: no answer within {self._timeout:g} s") from error
        except (httpx.TransportError, OSError) as error:
            raise Unavailable(f"{self.name}: {type(error).__name__} {error}") from error
        return answer_of(self.name, whole, self._profile, body, wanted=only if self._profile.quirks.json_schema else "")

    def _body(self, messages: list[Message], tools: list[dict[str, Any]], only: str) -> dict[str, Any]:
        quirks = self._profile.quirks
        body: dict[str, Any] = {"model": self._profile.model, "messages": messages, **quirks.extra}
        if only and quirks.json_schema:
            wanted = next(tool["function"] for tool in tools if tool["function"]["name"] == only)
            shape = {"name": only, "schema": wanted["parameters"], "strict": False}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
        elif tools:
            body["tools"] = tools
            if only and quirks.tool_choice:
                body["tool_choice"] = {"type": "function", "function": {"name": only}}
        if quirks.stream:
            body["stream"] = True
            if quirks.usage_in_stream:
                body["stream_options"] = {"include_usage": True}
        return body

    async def _streamed(self, response: httpx.Response, limit: asyncio.Timeout, deadline: float) -> dict[str, Any]:
        """The whole completion out of its pieces. Raises CutOff when the end is missing, TimedOut when it stalls."""
        pieces, loop = Pieces(), asyncio.get_running_loop()
        try:
            async for piece in _events(response):
                limit.reschedule(loop.time() + min(self._stall, deadline - time.monotonic()))
                if piece == "[DONE]":
                    pieces.ended = True
                    break
                pieces.add(_json(self.name, piece.encode()))
                if pieces.size > MOST:
                    raise Garbled(f"{self.name}: the answer is longer than {MOST} characters")
        except (TimeoutError, httpx.TimeoutException):
            raise
        except (httpx.TransportError, OSError) as error:
            if not pieces.ended:
                raise CutOff(f"{self.name}: the stream was cut: {type(error).__name__} {error}") from error
        if pieces.error is not None:
            raise error_of(self.name, httpx.Response(pieces.error_status, json={"error": pieces.error}))
        if not pieces.ended:
            raise CutOff(f"{self.name}: the stream ended before the answer did")
        return pieces.whole()

    async def _read(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MOST:
                raise Garbled(f"{self.name}: the answer is longer than {MOST} bytes")
        return bytes(body)


async def _events(response: httpx.Response) -> AsyncIterator[str]:
    """The data of server-sent events; comments, such as OpenRouter's signs of life, are left out."""
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            yield line[5:].strip()


def _json(name: str, body: bytes) -> dict[str, Any]:
    try:
        whole = json.loads(body)
    except ValueError as error:
        raise Garbled(f"{name} answered no chat completion: {body[:300]!r}") from error
    if not isinstance(whole, dict):
        raise Garbled(f"{name} answered no chat completion: {body[:300]!r}")
    return whole
