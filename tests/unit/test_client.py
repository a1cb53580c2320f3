"""The model client against answers as endpoints really send them, and the choice of a model."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from config.models import Profile, choose
from worker.llm import client as client_module
from worker.llm.client import ChatClient
from worker.llm.model import Garbled, NotConfigured, RateLimited, Rejected, Unavailable

PROFILE = Profile(
    provider="moonshot", model="kimi", base_url="http://model/v1", key=SecretStr("sk-1"), payer="somebody"
)


def chat(*answers: httpx.Response | Exception) -> tuple[ChatClient, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = answers[min(len(seen), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ChatClient(PROFILE, timeout=5, transport=httpx.MockTransport(handle)), seen


def completion(**message: Any) -> httpx.Response:
    return httpx.Response(200, json={"choices": [{"message": message}], "usage": {"prompt_tokens": 7}})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries."""

    async def at_once(_: float) -> None:
        return None

    monkeypatch.setattr(client_module.asyncio, "sleep", at_once)


async def test_an_answer_with_calls_usage_and_reasoning() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "read_file", "arguments": '{"path": "x"}'}}
    client, seen = chat(completion(content=None, tool_calls=[call], reasoning_content="hm"))
    answer = await client.answer([{"role": "user", "content": "go"}], [])
    assert (answer.calls[0].name, answer.tokens_in, answer.text) == ("read_file", 7, "")
    assert answer.message()["reasoning_content"] == "hm", "Kimi wants its reasoning back"
    assert seen[0].url == "http://model/v1/chat/completions"
    assert seen[0].headers["authorization"] == "Bearer sk-1"
    assert "tools" not in json.loads(seen[0].content)


async def test_forgotten_and_doubled_call_ids_and_arguments_as_objects_are_mended() -> None:
    function = {"name": "list_files", "arguments": {"pattern": "*"}}
    calls = [{"function": function}, {"id": "x", "function": function}, {"id": "x", "function": function}]
    client, _ = chat(completion(content="", tool_calls=calls))
    answer = await client.answer([], [])
    assert len({call.id for call in answer.calls}) == 3
    assert json.loads(answer.calls[0].arguments) == {"pattern": "*"}


async def test_lone_surrogates_do_not_get_in() -> None:
    body = b'{"choices": [{"message": {"content": "a\\ud800b"}}]}'
    client, _ = chat(httpx.Response(200, content=body))
    assert (await client.answer([], [])).model_dump_json()


@pytest.mark.parametrize(
    ("answer", "kind", "tries"),
    [
        (httpx.Response(401, text="no such key"), NotConfigured, 1),
        (httpx.Response(402, text="insufficient balance"), NotConfigured, 1),
        (httpx.Response(429, text="you exceeded your current quota"), NotConfigured, 1),
        (httpx.Response(404, text="no such model"), NotConfigured, 1),
        (httpx.Response(400, text="context length"), Rejected, 1),
        (httpx.Response(429, text="slow down", headers={"Retry-After": "3"}), RateLimited, 5),
        (httpx.Response(429, text="slow down", headers={"Retry-After": "3600"}), RateLimited, 1),
        (httpx.Response(500, text="oops"), Unavailable, 5),
        (httpx.ConnectError("refused"), Unavailable, 5),
        (httpx.ReadTimeout("late"), Unavailable, 5),
        (httpx.Response(200, text="<html>"), Garbled, 1),
        (httpx.Response(200, json={"choices": []}), Garbled, 1),
        (httpx.Response(200, json={"choices": [{"message": {"tool_calls": [{"id": "a"}]}}]}), Garbled, 1),
        (httpx.Response(200, json=[1]), Garbled, 1),
    ],
)
async def test_trouble_has_a_type_and_only_what_may_pass_is_tried_again(
    answer: httpx.Response | Exception, kind: type[Exception], tries: int
) -> None:
    client, seen = chat(answer)
    with pytest.raises(kind):
        await client.answer([], [])
    assert len(seen) == tries


async def test_what_passes_is_waited_out() -> None:
    client, seen = chat(httpx.Response(503), httpx.ConnectError("refused"), completion(content="there"))
    assert (await client.answer([], [])).text == "there"
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("setting", "environment", "expected"),
    [
        ("", {}, "rehearsal:rehearsal"),
        ("", {"MOONSHOT_API_KEY": "k"}, "moonshot:kimi-k2.6"),
        ("", {"OPENAI_API_KEY": "k"}, "rehearsal:rehearsal"),
        ("", {"OPENAI_API_KEY": "k", "OPENAI_MODEL": "m"}, "openai:m"),
        ("rehearsal", {"MOONSHOT_API_KEY": "k"}, "rehearsal:rehearsal"),
        ("ollama:qwen3:14b", {}, "ollama:qwen3:14b"),
        ("openrouter:a/b", {"OPENROUTER_API_KEY": "k"}, "openrouter:a/b"),
    ],
)
def test_the_model_that_is_chosen_and_who_pays(setting: str, environment: dict[str, str], expected: str) -> None:
    profile = choose(setting, environment)
    assert f"{profile.provider}:{profile.model}" == expected


@pytest.mark.parametrize("setting", ["kimi", "nobody:x", "openai", "ollama"])
def test_a_setting_that_names_no_model_says_what_to_write(setting: str) -> None:
    with pytest.raises(ValueError, match=r"PURSUIT_MODEL"):
        choose(setting, {})


def test_a_key_never_shows() -> None:
    profile = choose("moonshot:kimi", {"MOONSHOT_API_KEY": "sk-planted"})
    assert "sk-planted" not in repr(profile) + profile.model_dump_json()
