"""What a model is to the rest of the house: messages and tools in, an answer out, and typed errors.

ModelError
├── Unavailable      worth another try later
│   ├── RateLimited  too many requests just now; `after` seconds
│   ├── TimedOut     no answer in time
│   └── CutOff       the stream ended before the answer did
├── QuotaUsedUp      the account has nothing left until `until`; no call succeeds before
├── NotConfigured    key, account or model name are wrong; a person must change something
├── Rejected         this request won't be taken
│   ├── TooLong      it doesn't fit the model's window
│   └── Refused      the provider's filter, or the model, declines
└── Garbled          what came is no chat completion
"""

from __future__ import annotations

from typing import Any, Protocol

from pydantic import Field

from pursuit.contract import Frozen

Message = dict[str, Any]


class ToolCall(Frozen):
    """A tool call as the model wrote it; the arguments are JSON text, and may be garbage."""

    id: str
    name: str
    arguments: str


class Answer(Frozen):
    """One answer of a model, with what it used. `tokens_in` holds `tokens_cached`."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    #: what it cost, in millionths of a dollar
    micros: int = 0
    #: it ended because it had become too long
    cut: bool = False
    #: fields that some endpoints want back unchanged, such as Kimi's reasoning_content
    extra: dict[str, Any] = Field(default_factory=dict)

    def message(self) -> Message:
        """The answer as a message of the conversation."""
        message: Message = {"role": "assistant", "content": self.text, **self.extra}
        if self.calls:
            message["tool_calls"] = [
                {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
                for c in self.calls
            ]
        return message


class ModelError(Exception):
    """A model call that brought no answer. `account`: who was to pay, as the governor knows it."""

    account: str = ""


class Unavailable(ModelError):
    """The endpoint didn't answer, or too late, or with an error of its own; worth another try later."""


class RateLimited(Unavailable):
    """Too many requests just now. `after`: seconds the endpoint asks for."""

    def __init__(self, text: str, after: float | None) -> None:
        super().__init__(text)
        self.after = after


class TimedOut(Unavailable):
    """No answer in the time given for one call."""


class CutOff(Unavailable):
    """The stream ended before the answer did."""


class QuotaUsedUp(ModelError):
    """The account has nothing left. `until`: unix time at which the provider says it has again, if it says so."""

    def __init__(self, text: str, until: float | None) -> None:
        super().__init__(text)
        self.until = until


class NotConfigured(ModelError):
    """Key, account or model name are wrong: no call will succeed until a person changes something."""


class Rejected(ModelError):
    """The endpoint won't take this request: malformed, too long or refused."""


class TooLong(Rejected):
    """The conversation doesn't fit the model's window."""


class Refused(Rejected):
    """The provider's filter, or the model itself, declines to answer this."""


class Garbled(ModelError):
    """The endpoint answered something that is no chat completion."""


class NoModel:
    """What a replay has for a model: its answers are recorded, and nobody is ever called."""

    name = "replay"

    async def answer(self, messages: list[Message], tools: list[dict[str, Any]], *, only: str = "") -> Answer:
        raise Rejected("a replay calls no model")

    async def close(self) -> None:
        return None


class Model(Protocol):
    """Anything that answers one call, once: who calls decides about tries."""

    name: str

    async def answer(self, messages: list[Message], tools: list[dict[str, Any]], *, only: str = "") -> Answer: ...

    async def close(self) -> None: ...
