"""A scripted OpenAI-compatible server: real HTTP, answers by rehearsal policy unless a test says otherwise.

A test scripts a goal by a marker in its objective, such as "[garbage]"; every call about that goal carries it.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.servers import free_port
from worker.llm.model import Answer, ToolCall
from worker.llm.rehearsal import respond


class Call:
    """One request as the server got it."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.messages: list[dict[str, Any]] = body["messages"]
        self.tools: list[dict[str, Any]] = body.get("tools", [])
        self.offered = {tool["function"]["name"] for tool in self.tools}
        self.text = str(self.messages[1]["content"])

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
        return respond(self.messages, self.tools)


def says(text: str = "", *calls: tuple[str, Any]) -> Answer:
    """An answer with tool calls; arguments that are text are sent as they are."""
    made = [
        ToolCall(id=f"c{place}", name=name, arguments=args if isinstance(args, str) else json.dumps(args))
        for place, (name, args) in enumerate(calls)
    ]
    return Answer(text=text, calls=tuple(made))


Handler = Callable[[Call], Answer | web.Response | None]


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
        runner = web.AppRunner(app)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", self.port).start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _answer(self, request: web.Request) -> web.Response:
        call = Call(await request.json())
        if self.delay:
            await asyncio.sleep(self.delay)
        for marker, handler in self.handlers.items():
            if marker in call.text:
                self.calls[marker] += 1
                answer = handler(call)
                break
        else:
            answer = None
        if isinstance(answer, web.Response):
            return answer
        return web.json_response(completion(answer or call.rehearse()))


def completion(answer: Answer) -> dict[str, Any]:
    """A chat completion as endpoints send it."""
    message = answer.message()
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if answer.calls else "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }
