"""Local servers are found on loopback only, and a model is asked for a real tool call."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from config.endpoints import check, detect
from config.models import Profile


class Server(BaseHTTPRequestHandler):
    """Answers as told by `replies`: path -> JSON."""

    replies: ClassVar[dict[str, Any]] = {}

    def _reply(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        known = self.path in self.replies
        body = json.dumps(self.replies.get(self.path, {})).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _reply  # noqa: N815

    def log_message(self, *_: Any) -> None:
        return None


@pytest.fixture
def server() -> Iterator[str]:
    Server.replies = {}
    http = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/v1"
    http.shutdown()
    http.server_close()
    thread.join()


NOWHERE = dict.fromkeys(("ollama", "lmstudio", "llamacpp", "vllm"), "http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    ("listed", "more", "window"),
    [
        ({"max_model_len": 32_768}, {}, 32_768),
        ({"loaded_context_length": 8_192}, {}, 8_192),
        ({}, {"/props": {"default_generation_settings": {"n_ctx": 4_096}}}, 4_096),
        ({}, {"/api/show": {"parameters": "stop x\nnum_ctx 16384", "model_info": {}}}, 16_384),
        ({}, {"/api/show": {"model_info": {}}}, 4_096),
        ({}, {}, None),
    ],
)
def test_a_local_server_is_found_with_its_window(server: str, listed: Any, more: Any, window: int | None) -> None:
    Server.replies = {"/v1/models": {"data": [{"id": "qwen3", **listed}, {"id": "nomic-embed"}]}, **more}
    (found,) = detect({**NOWHERE, "ollama": server})
    assert (found.provider, found.models, found.window) == ("ollama", ("qwen3",), window)


def test_nothing_but_loopback_is_asked_and_other_servers_are_no_models(server: str) -> None:
    Server.replies = {"/v1/models": {"hello": "I am a web shop"}}
    assert detect({**NOWHERE, "vllm": server}) == []
    Server.replies = {"/v1/models": {"data": [{"id": "m"}]}}
    assert detect({**NOWHERE, "vllm": server.replace("127.0.0.1", "127.0.0.2")}) == []


def call(**arguments: Any) -> dict[str, Any]:
    function = {"name": "add", "arguments": json.dumps(arguments)}
    return {"choices": [{"message": {"content": "", "tool_calls": [{"id": "a", "function": function}]}}]}


@pytest.mark.parametrize(
    ("reply", "ok", "words"),
    [
        (call(a=19, b=23), True, "calls tools"),
        (call(a=1, b=2), False, "wrong arguments"),
        ({"choices": [{"message": {"content": "42"}}]}, False, "calls no tool"),
        ({"choices": []}, False, "no chat completion"),
        (None, False, "404"),
    ],
)
def test_a_model_is_asked_for_a_real_tool_call(server: str, reply: Any, ok: bool, words: str) -> None:
    Server.replies = {"/v1/chat/completions": reply} if reply is not None else {}
    checked = check(Profile(provider="x", model="m", base_url=server, payer="nobody"))
    assert checked.ok is ok and words in checked.text


def test_a_server_that_is_not_there_is_no_crash() -> None:
    checked = check(Profile(provider="x", model="m", base_url="http://127.0.0.1:9/v1", payer="nobody"), timeout=2)
    assert not checked.ok and "ConnectError" in checked.text
