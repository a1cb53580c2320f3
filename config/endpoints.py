"""Looks at model endpoints: which local servers answer, and whether a model really calls tools."""

from __future__ import annotations

import json
from typing import Any

import httpx

from config.models import PRESETS, Profile
from pursuit.contract import Frozen

#: a sub-agent's brief, a few files and its tools don't fit into fewer tokens
SMALL_WINDOW = 16_000
#: seconds for a local server to answer at all
QUICK = 0.5


class Found(Frozen):
    """A local server that answers."""

    provider: str
    title: str
    base_url: str
    models: tuple[str, ...]
    window: int | None = None


class Checked(Frozen):
    """What a model came to when it was asked to call a tool."""

    ok: bool
    text: str
    window: int | None = None


def detect(urls: dict[str, str] | None = None) -> list[Found]:
    """The local servers (Ollama, LM Studio, llama.cpp, vLLM) that answer on loopback; nothing else is ever asked."""
    found = []
    with httpx.Client(timeout=httpx.Timeout(QUICK), trust_env=False) as client:
        for provider, preset in PRESETS.items():
            url = (urls or {}).get(provider, preset.base_url)
            if not preset.local or httpx.URL(url).host not in ("127.0.0.1", "localhost", "::1"):
                continue
            try:
                listed = client.get(f"{url}/models").raise_for_status().json()["data"]
                names = tuple(str(model["id"]) for model in listed if "embed" not in str(model["id"]))
            except (httpx.HTTPError, ValueError, KeyError, TypeError):
                continue
            if names:
                window = _window(client, url, names[0], listed[0])
                found.append(Found(provider=provider, title=preset.title, base_url=url, models=names, window=window))
    return found


def _window(client: httpx.Client, url: str, model: str, listed: dict[str, Any]) -> int | None:
    """Tokens of context, where the server says so: vLLM and LM Studio in the list, llama.cpp and Ollama elsewhere."""
    for name in ("max_model_len", "loaded_context_length", "max_context_length", "context_length"):
        if isinstance(listed.get(name), int):
            return int(listed[name])
    root = url.removesuffix("/v1")
    try:
        settings = client.get(f"{root}/props").json().get("default_generation_settings") or {}
        if isinstance(settings.get("n_ctx"), int):
            return int(settings["n_ctx"])
    except (httpx.HTTPError, ValueError, AttributeError):
        pass
    try:
        shown = client.post(f"{root}/api/show", json={"model": model}).json()
        for line in str(shown.get("parameters", "")).splitlines():
            if line.startswith("num_ctx"):
                return int(line.split()[1])
        return 4_096 if "model_info" in shown else None  # Ollama's default, whatever the model could hold
    except (httpx.HTTPError, ValueError, AttributeError, IndexError):
        return None


def check(profile: Profile, *, timeout: float = 60.0) -> Checked:
    """Asks the model to call a tool, for real: it costs a few tokens of the account's. Never raises."""
    tool = {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
            },
        },
    }
    asked = {
        "model": profile.model,
        "messages": [{"role": "user", "content": "What is 19 + 23? Use the add tool."}],
        "tools": [tool],
        **profile.quirks.extra,
    }
    headers = {"Authorization": f"Bearer {profile.key.get_secret_value()}"} if profile.key else {}
    try:
        with httpx.Client(timeout=timeout, trust_env=False, headers=headers) as client:
            response = client.post(f"{profile.base_url.rstrip('/')}/chat/completions", json=asked)
            window = _listed_window(client, profile)
        if response.status_code != 200:
            return Checked(ok=False, text=f"answered {response.status_code}: {response.text[:300]}")
        calls = response.json()["choices"][0]["message"].get("tool_calls") or []
        arguments = json.loads(calls[0]["function"]["arguments"]) if calls else None
    except (httpx.HTTPError, OSError) as error:
        return Checked(ok=False, text=f"{type(error).__name__}: {error}")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return Checked(ok=False, text=f"answered no chat completion: {response.text[:200]!r}")
    if not calls:
        return Checked(ok=False, text="it answers, but calls no tool", window=window)
    good = isinstance(arguments, dict) and {arguments.get("a"), arguments.get("b")} == {19, 23}
    text = "answers and calls tools" if good else f"calls tools, but with wrong arguments: {arguments}"
    return Checked(ok=good, text=text, window=window)


def _listed_window(client: httpx.Client, profile: Profile) -> int | None:
    try:
        listed = client.get(f"{profile.base_url.rstrip('/')}/models").json()["data"]
        mine = next(model for model in listed if model["id"] == profile.model)
    except (httpx.HTTPError, ValueError, KeyError, TypeError, StopIteration):
        return None
    return _window(client, profile.base_url.rstrip("/"), profile.model, mine)
