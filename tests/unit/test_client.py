"""The model client against answers as endpoints really send them, and the choice of a model."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from config.models import Prices, Profile, ProfileSettings, Quirks, choose
from worker.llm import caller as caller_module
from worker.llm.caller import Caller
from worker.llm.client import ChatClient
from worker.llm.model import (
    CutOff,
    Garbled,
    ModelError,
    NotConfigured,
    QuotaUsedUp,
    RateLimited,
    Refused,
    Rejected,
    TimedOut,
    TooLong,
    Unavailable,
)
from worker.llm.trouble import error_of, retry_after

PROFILE = Profile(
    provider="moonshot", model="kimi", base_url="http://model/v1", key=SecretStr("sk-1"), payer="somebody"
)

#: a time to come, wherever the tests are
AT = int(time.time()) + 3600


def chat(*answers: httpx.Response | Exception, **profile: Any) -> tuple[ChatClient, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = answers[min(len(seen), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = ChatClient(PROFILE.model_copy(update=profile), timeout=5, transport=httpx.MockTransport(handle))
    return client, seen


def completion(**message: Any) -> httpx.Response:
    return httpx.Response(200, json={"choices": [{"message": message}], "usage": {"prompt_tokens": 7}})


def stream(*pieces: Any, end: bool = True) -> httpx.Response:
    lines = [": a sign of life", *(f"data: {p if isinstance(p, str) else json.dumps(p)}" for p in pieces)]
    text = "\n\n".join([*lines, *(["data: [DONE]"] if end else [])]) + "\n\n"
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=text.encode())


def delta(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


async def test_an_answer_with_calls_usage_and_reasoning() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "read_file", "arguments": '{"path": "x"}'}}
    client, seen = chat(completion(content=None, tool_calls=[call], reasoning_content="hm"))
    answer = await client.answer([{"role": "user", "content": "go"}], [])
    assert (answer.calls[0].name, answer.tokens_in, answer.text) == ("read_file", 7, "")
    assert answer.message()["reasoning_content"] == "hm", "Kimi wants its reasoning back"
    assert seen[0].url == "http://model/v1/chat/completions"
    assert seen[0].headers["authorization"] == "Bearer sk-1"
    asked = json.loads(seen[0].content)
    assert "tools" not in asked
    assert asked["stream"] is True and asked["stream_options"] == {"include_usage": True}


async def test_a_streamed_answer_is_put_together() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 60}}
    client, _ = chat(
        stream(
            delta(role="assistant", content="", reasoning_content="I "),
            delta(reasoning_content="think"),
            delta(content="Let me "),
            delta(content="look."),
            delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "read_file", "arguments": ""}}]),
            delta(tool_calls=[{"index": 1, "id": "b", "function": {"name": "list_files", "arguments": '{"pat'}}]),
            delta(tool_calls=[{"index": 0, "function": {"arguments": '{"path": "x"}'}}]),
            delta(tool_calls=[{"index": 1, "function": {"arguments": 'tern": "*"}'}}]),
            delta("tool_calls"),
            {"choices": [], "usage": usage},
        ),
        prices=Prices(input=1, output=10, cached=0.1),
    )
    answer = await client.answer([], [])
    assert answer.text == "Let me look."
    assert [(c.id, c.name, json.loads(c.arguments)) for c in answer.calls] == [
        ("a", "read_file", {"path": "x"}),
        ("b", "list_files", {"pattern": "*"}),
    ]
    assert answer.extra == {"reasoning_content": "I think"}
    assert (answer.tokens_in, answer.tokens_out, answer.tokens_cached) == (100, 9, 60)
    assert answer.micros == round(40 * 1 + 60 * 0.1 + 9 * 10)


async def test_streams_of_servers_that_forget_index_ids_and_usage() -> None:
    call = {"function": {"name": "list_files", "arguments": {"pattern": "*"}}}
    client, _ = chat(stream(delta(tool_calls=[call]), delta("tool_calls"), end=False))
    answer = await client.answer([{"role": "user", "content": "x" * 4000}], [])
    assert json.loads(answer.calls[0].arguments) == {"pattern": "*"} and answer.calls[0].id
    assert answer.tokens_in >= 1000, "what isn't said is estimated, so that caps hold"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (stream(delta(content="half an"), end=False), CutOff),
        (stream(end=False), CutOff),
        (stream("{not json"), Garbled),
        (stream(["a list"]), Garbled),
        (stream({"choices": [{"delta": {"tool_calls": [7]}}]}), Garbled),
        (stream(delta("content_filter", content="")), Refused),
        (stream({"error": {"message": "overloaded", "code": 503}}), Unavailable),
        (stream({"error": {"message": "insufficient_quota", "code": 429}}), QuotaUsedUp),
    ],
)
async def test_a_stream_that_brings_no_answer_says_why(answer: httpx.Response, kind: type[Exception]) -> None:
    client, _ = chat(answer)
    with pytest.raises(kind):
        await client.answer([], [])


async def test_an_answer_that_became_too_long_is_marked() -> None:
    client, _ = chat(stream(delta("length", content="and so on and")))
    assert (await client.answer([], [])).cut


async def test_structured_output_by_schema_where_the_endpoint_has_it_and_by_a_tool_where_not() -> None:
    tool = {"type": "function", "function": {"name": "submit", "parameters": {"type": "object"}}}
    client, seen = chat(completion(content='{"a": 1}'), quirks=Quirks(json_schema=True, stream=False))
    answer = await client.answer([], [tool], only="submit")
    assert (answer.calls[0].name, answer.calls[0].arguments, answer.text) == ("submit", '{"a": 1}', "")
    asked = json.loads(seen[0].content)
    assert asked["response_format"]["json_schema"]["name"] == "submit" and "tools" not in asked
    assert "stream" not in asked

    client, seen = chat(completion(content="", tool_calls=[]))
    await client.answer([], [tool], only="submit")
    assert json.loads(seen[0].content)["tool_choice"] == {"type": "function", "function": {"name": "submit"}}
    client, seen = chat(completion(content=""), quirks=Quirks(tool_choice=False))
    await client.answer([], [tool], only="submit")
    asked = json.loads(seen[0].content)
    assert "tool_choice" not in asked and asked["tools"] == [tool]


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
    ("answer", "kind"),
    [
        (httpx.Response(401, text="no such key"), NotConfigured),
        (httpx.Response(403, text="forbidden"), NotConfigured),
        (httpx.Response(404, text="no such model"), NotConfigured),
        (httpx.Response(402, text="insufficient balance"), QuotaUsedUp),
        (httpx.Response(429, text="you exceeded your current quota"), QuotaUsedUp),
        (httpx.Response(429, text="quota: retry soon", headers={"Retry-After": "3"}), RateLimited),
        (httpx.Response(429, text="slow down", headers={"Retry-After": "3"}), RateLimited),
        (httpx.Response(503, text="overloaded", headers={"Retry-After": "3"}), RateLimited),
        (httpx.Response(400, text="maximum context length is 8192 tokens"), TooLong),
        (httpx.Response(500, text="exceed_context_size_error"), TooLong),
        (httpx.Response(400, text="rejected because it was considered high risk"), Refused),
        (httpx.Response(403, text="your input was flagged by moderation"), Refused),
        (httpx.Response(200, json={"choices": [{"message": {"refusal": "I won't"}}]}), Refused),
        (httpx.Response(400, text="unknown field"), Rejected),
        (httpx.Response(500, text="oops"), Unavailable),
        (httpx.ConnectError("refused"), Unavailable),
        (httpx.ReadTimeout("late"), TimedOut),
        (httpx.Response(200, text="<html>"), Garbled),
        (httpx.Response(200, json={"choices": []}), Garbled),
        (httpx.Response(200, json={"choices": [{"message": {"tool_calls": [{"id": "a"}]}}]}), Garbled),
        (httpx.Response(200, json=[1]), Garbled),
    ],
)
async def test_trouble_has_a_type_and_is_left_to_the_caller(
    answer: httpx.Response | Exception, kind: type[Exception]
) -> None:
    client, seen = chat(answer)
    with pytest.raises(ModelError) as raised:
        await client.answer([], [])
    assert type(raised.value) is kind
    assert len(seen) == 1


def test_when_to_come_back_is_read_in_all_the_ways_it_is_written() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after(httpx.Headers({"Retry-After": "7"})) == 7
    assert retry_after(httpx.Headers({"retry-after-ms": "1500", "Retry-After": "2"})) == 1.5
    assert 80 < (retry_after(httpx.Headers({"Retry-After": later})) or 0) <= 90
    assert retry_after(httpx.Headers({"Retry-After": "soon"})) is None
    assert retry_after(httpx.Headers()) is None


@pytest.mark.parametrize(
    ("kind", "body", "headers"),
    [
        ("in", {"error": {"message": "quota", "resets_in_seconds": 3600}}, {}),
        ("AT", {"error": {"message": "quota", "resets_at": AT}}, {}),
        ("in", {"error": {"message": "quota"}}, {"Retry-After": "3600"}),
        ("AT", {"error": {"message": "quota"}}, {"X-RateLimit-Reset": str(AT * 1000)}),
    ],
)
def test_the_reset_of_a_quota_is_read_in_all_the_ways_it_is_written(
    kind: str, body: Any, headers: dict[str, str]
) -> None:
    error = error_of("m", httpx.Response(429, json=body, headers=headers))
    assert isinstance(error, QuotaUsedUp) and error.until is not None
    assert abs(error.until - (AT if "AT" in kind else time.time() + 3600)) < 5


async def never(seconds: float, why: str) -> None:
    return None


async def test_what_passes_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller_module.asyncio, "sleep", never_mind)
    client, seen = chat(httpx.Response(503), httpx.ConnectError("refused"), completion(content="there"))
    called = await Caller(client, PROFILE).call("g", "c", [], [], waiting=never)
    assert called.answer.text == "there" and len(seen) == 3


async def never_mind(_: float) -> None:
    """No waiting between tries."""


async def test_tries_end_and_what_cut_streams_used_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller_module.asyncio, "sleep", never_mind)
    client, seen = chat(httpx.Response(502))
    with pytest.raises(Unavailable):
        await Caller(client, PROFILE).call("g", "c", [], [], waiting=never)
    assert len(seen) == caller_module.TRIES
    client, seen = chat(httpx.Response(200, text="<html>"))
    with pytest.raises(Garbled):
        await Caller(client, PROFILE).call("g", "c", [], [], waiting=never)
    assert len(seen) == 2


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
    with pytest.raises(ValueError, match=r"model"):
        choose(setting, {})


def test_a_key_never_shows() -> None:
    profile = choose("moonshot:kimi", {"MOONSHOT_API_KEY": "sk-planted"})
    assert "sk-planted" not in repr(profile) + profile.model_dump_json()


def test_a_profile_of_the_operators_own() -> None:
    own = ProfileSettings(
        provider="house", model="m", base_url="http://gpu:9/v1", key_variable="HOUSE_KEY", window=8_000,
        prices=Prices(input=0.5, output=1),
    )  # fmt: skip
    profile = choose("fast", {"HOUSE_KEY": "k1"}, {"fast": own})
    assert (profile.base_url, profile.window, profile.payer) == (
        "http://gpu:9/v1", 8_000, "the account of HOUSE_KEY at house",
    )  # fmt: skip
    other = choose("fast", {"HOUSE_KEY": "k2"}, {"fast": own})
    assert profile.account != other.account and "k1" not in profile.account
    with pytest.raises(ValueError, match="needs a base_url"):
        choose("fast", {}, {"fast": ProfileSettings(provider="house", model="m")})
