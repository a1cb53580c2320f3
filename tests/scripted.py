"""A scripted OpenAI-compatible server: real HTTP, answers by rehearsal policy unless a test says otherwise.

A test scripts a goal by a marker in its objective, such as "[garbage]"; every call about that goal carries it.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Union

from aiohttp import web

from tests.servers import free_port
from worker.llm.model import Answer, ToolCall
from worker.llm.rehearsal import respond


class Call:
    """One request as the server got it."""

    def __init__(self, body: dict[str, Any], key: str = "") -> None:
        self.key = key
        self.stream = bool(body.get("stream"))
        self.messages: list[dict[str, Any]] = body["messages"]
        self.tools: list[dict[str, Any]] = body.get("tools", [])
        self.offered = {tool["function"]["name"] for tool in self.tools}
        if "response_format" in body:
            self.offered.add(body["response_format"]["json_schema"]["name"])
        self.text = str(self.messages[min(1, len(self.messages) - 1)]["content"])

    @property
    def role(self) -> str:
        for role in ("plan", "digest", "verdict"):
            if f"submit_{role}" in self.offered:
                return role
        return "none"

    @property
    def turn(self) -> int:
        """How many answers the model has given in this conversation."""
        return sum(message["role"] == "assistant" for message in self.messages)

    def rehearse(self) -> Answer:
        if self.offered == {"add"}:
            return says("", ("add", {"a": 19, "b": 23}))  # the doctor's question
        if not self.offered:
            return Answer(text="In short: some of it is done.")
        return respond(self.messages, self.tools)


def says(text: str = "", *calls: tuple[str, Any]) -> Answer:
    """An answer with tool calls; arguments that are text are sent as they are."""
    made = [
        ToolCall(id=f"c{place}", name=name, arguments=args if isinstance(args, str) else json.dumps(args))
        for place, (name, args) in enumerate(calls)
    ]
    return Answer(text=text, calls=tuple(made))


Said = Union[Answer, web.Response, "Stream", None]
Handler = Callable[[Call], Said | Awaitable[Said]]


class ScriptedModel:
    """Runs in a thread of the tests."""

    def __init__(self) -> None:
        self.port = free_port()
        self.handlers: dict[str, Handler] = {}
        self.calls: Counter[str] = Counter()
        self.delay = 0.0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    def on(self, marker: str, handler: Handler) -> None:
        """Lets a handler answer for goals whose objective holds the marker; None falls back to the policy."""
        self.handlers[marker] = handler

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=50_000_000)
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, handler_cancellation=True)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", self.port).start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        call = Call(await request.json(), request.headers.get("Authorization", "").removeprefix("Bearer "))
        if self.delay:
            await asyncio.sleep(self.delay)
        answer: Said = None
        for marker, handler in self.handlers.items():
            if marker in call.text:
                self.calls[marker] += 1
                said = handler(call)
                answer = await said if inspect.isawaitable(said) else said
                break
        if isinstance(answer, web.Response):
            return answer
        answer = answer or call.rehearse()
        if not call.stream:
            assert isinstance(answer, Answer)
            return web.json_response(completion(answer))
        return await _streamed(request, answer if isinstance(answer, Stream) else Stream(answer))


class Stream:
    """An answer in pieces, with trouble on its way: `stalls` for so many seconds after the first, or `cut` after it."""

    def __init__(self, answer: Answer, *, stalls: float = 0, cut: bool = False) -> None:
        self.answer, self.stalls, self.cut = answer, stalls, cut


async def _streamed(request: web.Request, stream: Stream) -> web.StreamResponse:
    """Pieces as endpoints send them: text and arguments in parts, then the reason for the end, then the usage."""
    whole = completion(stream.answer)
    message = whole["choices"][0]["message"]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": message["content"][:10]}]
    deltas += [{"content": message["content"][10:]}] if message["content"][10:] else []
    deltas += [{name: value} for name, value in stream.answer.extra.items()]
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        half = len(function["arguments"]) // 2
        first = {"name": function["name"], "arguments": function["arguments"][:half]}
        deltas.append({"tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": first}]})
        deltas.append({"tool_calls": [{"index": index, "function": {"arguments": function["arguments"][half:]}}]})
    pieces = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    end = {"index": 0, "delta": {}, "finish_reason": whole["choices"][0]["finish_reason"]}
    pieces += [{"choices": [end]}, {"choices": [], "usage": whole["usage"]}]
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for place, piece in enumerate(pieces):
        await response.write(f"data: {json.dumps(piece)}\n\n".encode())
        if place == 0 and stream.stalls:
            await asyncio.sleep(stream.stalls)
        if place == 0 and stream.cut:
            assert request.transport
            request.transport.close()
            return response
    await response.write(b"data: [DONE]\n\n")
    return response


def completion(answer: Answer) -> dict[str, Any]:
    """A chat completion as endpoints send it."""
    message = answer.message()
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if answer.calls else "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }
