"""Which models work, and whose account pays: provider presets, profiles, and the choice among them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, SecretStr

from pursuit.contract import Frozen

REHEARSAL = "rehearsal"
#: the model of a goal that replays another one's recorded answers
REPLAY = "replay"
#: tokens that a model of unknown window is taken to hold
WINDOW = 128_000


class Prices(Frozen):
    """US dollars per million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(None, ge=0, description="of input read from the provider's cache; else as input")

    def micros(self, tokens_in: int, tokens_out: int, cached: int = 0) -> int:
        """What a call costs, in millionths of a dollar."""
        dear = max(0, tokens_in - cached)
        cheap = self.input if self.cached is None else self.cached
        return round(dear * self.input + cached * cheap + tokens_out * self.output)


FREE = Prices(input=0, output=0)


class Quirks(Frozen):
    """How an endpoint differs from others; data, so that the client needs no branch a provider."""

    stream: bool = True
    usage_in_stream: bool = Field(True, description="takes stream_options.include_usage")
    json_schema: bool = Field(False, description="takes response_format json_schema; else a tool call is asked for")
    tool_choice: bool = Field(True, description="takes a tool_choice that names a function")
    #: field of an answer that must be sent back with it, such as Kimi's reasoning
    keep: tuple[str, ...] = ("reasoning_content",)
    most_tokens: str = Field("max_tokens", description="name of the field that limits an answer's length")
    extra: dict[str, object] = Field(default_factory=dict, description="sent with each request")


class Limits(Frozen):
    """What the account may do; None: not known, found out by what the provider refuses."""

    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    parallel: int = Field(300, ge=1, le=5_000, description="calls in flight, of the whole fleet")


class Preset(Frozen):
    """A provider that speaks OpenAI-compatible chat completions."""

    base_url: str
    key_variable: str | None
    default_model: str | None
    title: str
    quirks: Quirks = Quirks()
    local: bool = False


#: a local server takes few calls at a time, and nobody pays
LOCAL = Quirks(keep=(), tool_choice=False)
PRESETS: dict[str, Preset] = {
    "moonshot": Preset(
        base_url="https://api.moonshot.ai/v1",
        key_variable="MOONSHOT_API_KEY",
        default_model="kimi-k2.6",
        title="Moonshot",
        quirks=Quirks(tool_choice=False),  # thinking models refuse a forced tool
    ),
    "openai": Preset(
        base_url="https://api.openai.com/v1",
        key_variable="OPENAI_API_KEY",
        default_model=None,
        title="OpenAI",
        quirks=Quirks(json_schema=True, keep=(), most_tokens="max_completion_tokens"),
    ),
    "openrouter": Preset(
        base_url="https://openrouter.ai/api/v1",
        key_variable="OPENROUTER_API_KEY",
        default_model=None,
        title="OpenRouter",
        quirks=Quirks(keep=("reasoning_content", "reasoning_details")),
    ),
    "ollama": Preset(
        base_url="http://127.0.0.1:11434/v1", key_variable=None, default_model=None, title="Ollama",
        quirks=LOCAL, local=True,
    ),
    "lmstudio": Preset(
        base_url="http://127.0.0.1:1234/v1", key_variable=None, default_model=None, title="LM Studio",
        quirks=LOCAL, local=True,
    ),
    "llamacpp": Preset(
        base_url="http://127.0.0.1:8080/v1", key_variable=None, default_model=None, title="llama.cpp",
        quirks=LOCAL, local=True,
    ),
    "vllm": Preset(
        base_url="http://127.0.0.1:8000/v1", key_variable=None, default_model=None, title="vLLM",
        quirks=Quirks(keep=(), json_schema=True), local=True,
    ),
}  # fmt: skip


class ProfileSettings(Frozen):
    """A profile as an operator writes it, in `[profiles.<name>]` of pursuit.toml."""

    provider: str
    model: str = ""
    base_url: str = ""
    key_variable: str | None = Field(None, description="environment variable that holds the key")
    window: int | None = Field(None, ge=1_000, description="tokens of context")
    prices: Prices | None = None
    limits: Limits = Limits()
    quirks: Quirks | None = None


class Profile(Frozen):
    """A model to call: where, under which name, with which key, and what it costs."""

    provider: str
    model: str
    base_url: str = ""
    key: SecretStr | None = None
    payer: str
    window: int = WINDOW
    prices: Prices | None = None
    limits: Limits = Limits()
    quirks: Quirks = Quirks()

    @property
    def rehearsal(self) -> bool:
        """Whether there is no endpoint behind it: nothing to limit, nothing to pay."""
        return self.provider in (REHEARSAL, REPLAY)

    @property
    def name(self) -> str:
        return self.provider if self.rehearsal else f"{self.provider}:{self.model}"

    @property
    def account(self) -> str:
        """Who pays, as a name that gives no key away: what the governor limits as one."""
        secret = self.key.get_secret_value() if self.key else ""
        return f"{self.provider}-{hashlib.sha256(f'{self.base_url} {secret}'.encode()).hexdigest()[:12]}"


REHEARSING = Profile(
    provider=REHEARSAL,
    model=REHEARSAL,
    payer="nobody: a fixed policy, no language model",
    window=10**9,
    prices=FREE,
)


REPLAYING = REHEARSING.model_copy(update={"provider": REPLAY, "model": REPLAY, "payer": "nobody: recorded answers"})


def choose(
    model: str,
    environment: Mapping[str, str] | None = None,
    profiles: Mapping[str, ProfileSettings] | None = None,
) -> Profile:
    """The profile named so, or of a `provider:model`; without a name, a provider whose key is set, else rehearsal.

    Raises ValueError, saying what to set, when the name leads to no provider or no model.
    """
    env = os.environ if environment is None else environment
    if profiles and model in profiles:
        return _profile(profiles[model], env)
    if model == REPLAY:
        return REPLAYING
    provider, _, name = model.partition(":")
    if provider == REHEARSAL or (not model and not (provider := _with_key(env))):
        return REHEARSING
    if provider not in PRESETS:
        known = ", ".join([*(profiles or ()), *PRESETS, REHEARSAL])
        raise ValueError(f"{model!r} is no model: name a profile, or provider:model with one of {known}")
    if provider == "openai":
        name = name or env.get("OPENAI_MODEL", "")
    return _profile(ProfileSettings(provider=provider, model=name), env)


def _profile(said: ProfileSettings, env: Mapping[str, str]) -> Profile:
    preset = PRESETS.get(said.provider)
    if preset is None:
        if not said.base_url:
            raise ValueError(f"a profile of {said.provider!r} needs a base_url; known are {', '.join(PRESETS)}")
        preset = Preset(base_url=said.base_url, key_variable=None, default_model=None, title=said.provider)
    model = said.model or preset.default_model or ""
    if not model:
        raise ValueError(f"name the model to use: {said.provider}:<model>")
    own = env.get("OPENAI_BASE_URL", "") if said.provider == "openai" else ""
    variable = said.key_variable or preset.key_variable
    key = _secret(env, variable) if variable else ""
    payer = f"the account of {variable} at {preset.title}" if key else "nobody known: no key is set"
    if preset.local and not key:
        payer = f"nobody: {preset.title} runs on your own machine"
    return Profile(
        provider=said.provider,
        model=model,
        base_url=said.base_url or own or preset.base_url,
        key=SecretStr(key) if key else None,
        payer=payer,
        window=said.window or WINDOW,
        prices=said.prices or (FREE if preset.local else None),
        limits=said.limits,
        quirks=said.quirks or preset.quirks,
    )


def _secret(env: Mapping[str, str], variable: str) -> str:
    """A secret from its variable, or from the file that <variable>_FILE names."""
    path = env.get(f"{variable}_FILE")
    return env.get(variable) or (Path(path).read_text().strip() if path else "")


def _with_key(env: Mapping[str, str]) -> str:
    """A provider that can be used without more being said: key set, and a model known."""
    if _secret(env, "MOONSHOT_API_KEY"):
        return "moonshot"
    if _secret(env, "OPENAI_API_KEY") and env.get("OPENAI_MODEL"):
        return "openai"
    return ""
