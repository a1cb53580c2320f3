"""What a model is to the rest of the house: messages and tools in, an answer out, and typed errors."""

from __future__ import annotations

from typing import Any, Protocol

from pydantic import Field

from pursuit.models import Frozen

Message = dict[str, Any]


class ToolCall(Frozen):
    """A tool call as the model wrote it; the arguments are JSON text, and may be garbage."""

    id: str
    name: str
    arguments: str


class Answer(Frozen):
    """One answer of a model, with what it used."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    tokens_in: int = 0
    tokens_out: int = 0
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
    """A model call that brought no answer."""


class Unavailable(ModelError):
    """The endpoint didn't answer, or too late, or with an error of its own; worth another try later."""


class RateLimited(Unavailable):
    """Too many requests just now. `after`: seconds the endpoint asks for."""

    def __init__(self, text: str, after: float | None) -> None:
        super().__init__(text)
        self.after = after


class NotConfigured(ModelError):
    """Key, account, quota or model name are wrong: no call will succeed until a person changes something."""


class Rejected(ModelError):
    """The endpoint won't take this request: too long, malformed, or refused by its filter."""


class Garbled(ModelError):
    """The endpoint answered something that is no chat completion."""


class Model(Protocol):
    """Anything that answers."""

    name: str

    async def answer(self, messages: list[Message], tools: list[dict[str, Any]]) -> Answer: ...

    async def close(self) -> None: ...
