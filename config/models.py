"""Which model works, and whose account pays: provider presets and the choice among them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydantic import SecretStr

from pursuit.models import Frozen

REHEARSAL = "rehearsal"


class Preset(Frozen):
    """A provider that speaks OpenAI-compatible chat completions."""

    base_url: str
    key_variable: str | None
    default_model: str | None
    title: str


PRESETS: dict[str, Preset] = {
    "moonshot": Preset(
        base_url="https://api.moonshot.ai/v1",
        key_variable="MOONSHOT_API_KEY",
        default_model="kimi-k2.6",
        title="Moonshot",
    ),
    "openai": Preset(
        base_url="https://api.openai.com/v1",
        key_variable="OPENAI_API_KEY",
        default_model=None,
        title="OpenAI",
    ),
    "openrouter": Preset(
        base_url="https://openrouter.ai/api/v1",
        key_variable="OPENROUTER_API_KEY",
        default_model=None,
        title="OpenRouter",
    ),
    "ollama": Preset(base_url="http://127.0.0.1:11434/v1", key_variable=None, default_model=None, title="Ollama"),
    "lmstudio": Preset(base_url="http://127.0.0.1:1234/v1", key_variable=None, default_model=None, title="LM Studio"),
    "vllm": Preset(base_url="http://127.0.0.1:8000/v1", key_variable=None, default_model=None, title="vLLM"),
}


class Profile(Frozen):
    """A model to call: where, under which name, with which key."""

    provider: str
    model: str
    base_url: str = ""
    key: SecretStr | None = None
    payer: str

    @property
    def rehearsal(self) -> bool:
        return self.provider == REHEARSAL


def choose(model: str, environment: Mapping[str, str] | None = None) -> Profile:
    """The profile for a `provider:model` setting; without one, a provider whose key is set, else rehearsal.

    Raises ValueError, saying what to set, when the setting names no known provider or no model.
    """
    env = os.environ if environment is None else environment
    provider, _, name = model.partition(":")
    if provider == REHEARSAL or (not model and not (provider := _with_key(env))):
        return Profile(provider=REHEARSAL, model="rehearsal", payer="nobody: a fixed policy, no language model")
    if provider not in PRESETS:
        known = ", ".join([*PRESETS, REHEARSAL])
        raise ValueError(f"PURSUIT_MODEL is {model!r}; it must be provider:model with one of {known}")
    preset = PRESETS[provider]
    name = name or env.get("OPENAI_MODEL", "") if provider == "openai" else name or (preset.default_model or "")
    if not name:
        raise ValueError(f"name the model to use: PURSUIT_MODEL={provider}:<model>")
    base_url = env.get("OPENAI_BASE_URL") or preset.base_url if provider == "openai" else preset.base_url
    key = env.get(preset.key_variable) if preset.key_variable else None
    payer = f"the account of {preset.key_variable} at {preset.title}" if key else "nobody known: no key is set"
    return Profile(provider=provider, model=name, base_url=base_url, key=SecretStr(key) if key else None, payer=payer)


def _with_key(env: Mapping[str, str]) -> str:
    """A provider that can be used without more being said: key set, and a model known."""
    if env.get("MOONSHOT_API_KEY"):
        return "moonshot"
    if env.get("OPENAI_API_KEY") and env.get("OPENAI_MODEL"):
        return "openai"
    return ""
