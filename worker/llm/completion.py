"""Chat completions as endpoints really write them, put together from a stream, and read into an Answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from config.models import Profile
from worker.llm.model import Answer, Garbled, Refused, ToolCall

#: characters a token, where an endpoint doesn't say what it has used; English prose has about four
CHARACTERS = 4


@dataclass
class Pieces:
    """A streamed completion so far."""

    ended: bool = False
    size: int = 0
    error: Any = None
    error_status: int = 500
    _texts: dict[str, list[str]] = field(default_factory=dict)
    _details: dict[str, list[Any]] = field(default_factory=dict)
    _calls: list[dict[str, Any]] = field(default_factory=list)
    _finish: str | None = None
    _usage: dict[str, Any] | None = None

    def add(self, piece: dict[str, Any]) -> None:
        """Takes one piece. What is no piece of a completion raises Garbled."""
        if piece.get("error"):
            self.error, self.ended = piece["error"], True
            code = self.error.get("code") if isinstance(self.error, dict) else None
            self.error_status = code if isinstance(code, int) and 400 <= code < 600 else 500
            return
        try:
            self._usage = piece.get("usage") or self._usage
            for choice in (piece.get("choices") or ())[:1]:
                self._usage = choice.get("usage") or self._usage  # Moonshot puts it here
                self._delta(choice.get("delta") or {})
                if choice.get("finish_reason"):
                    self._finish, self.ended = str(choice["finish_reason"]), True
        except (TypeError, AttributeError, KeyError) as error:
            raise Garbled(f"no piece of a chat completion: {str(piece)[:300]}") from error

    def _delta(self, delta: dict[str, Any]) -> None:
        for name, value in delta.items():
            if name == "tool_calls":
                for part in value or ():
                    self._call(part)
            elif isinstance(value, str) and name != "role":
                self._texts.setdefault(name, []).append(value)
                self.size += len(value)
            elif isinstance(value, list):
                self._details.setdefault(name, []).extend(value)

    def _call(self, part: dict[str, Any]) -> None:
        """Joins a piece of a tool call to its call: by index, else by id, else it is the last one's."""
        place = part.get("index")
        known = [c for c in self._calls if (place is not None and c["index"] == place)]
        if not known and place is None and self._calls and part.get("id") in (None, "", self._calls[-1]["id"]):
            known = self._calls[-1:]
        if not known:
            known = [{"index": place, "id": "", "function": {"name": "", "arguments": ""}}]
            self._calls += known
        call, said = known[0], part.get("function") or {}
        call["id"] = call["id"] or part.get("id") or ""
        call["function"]["name"] = call["function"]["name"] or said.get("name") or ""
        arguments = said.get("arguments") or ""
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        call["function"]["arguments"] += text
        self.size += len(text)

    def whole(self) -> dict[str, Any]:
        """The completion as an endpoint would have sent it in one piece."""
        message: dict[str, Any] = {name: "".join(texts) for name, texts in self._texts.items()}
        message |= self._details
        if self._calls:
            message["tool_calls"] = self._calls
        return {"choices": [{"message": message, "finish_reason": self._finish}], "usage": self._usage}


def answer_of(name: str, whole: dict[str, Any], profile: Profile, asked: dict[str, Any], *, wanted: str = "") -> Answer:
    """The answer in a completion; with `wanted` its text is what was to be handed to that tool.

    Raises Garbled where there is none, and Refused where the model or a filter declines.
    """
    try:
        choice = whole["choices"][0]
        message = choice["message"]
        if message.get("refusal") or choice.get("finish_reason") == "content_filter":
            raise Refused(f"{name} declines: {message.get('refusal') or 'its content filter'}"[:1000])
        text = _valid(message["content"]) if isinstance(message.get("content"), str) else ""
        calls = _calls(message.get("tool_calls") or ())
        if wanted and not calls and text:
            calls, text = (ToolCall(id=f"call_{uuid4().hex[:12]}", name=wanted, arguments=text),), ""
        used = _usage(whole.get("usage"), asked, message)
        return Answer(
            text=text,
            calls=calls,
            tokens_in=used[0],
            tokens_out=used[1],
            tokens_cached=used[2],
            micros=_micros(whole.get("usage"), profile, used),
            cut=choice.get("finish_reason") == "length",
            extra={kept: message[kept] for kept in profile.quirks.keep if message.get(kept)},
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Garbled(f"{name} answered no chat completion: {str(whole)[:300]}") from error


def _usage(said: Any, asked: dict[str, Any], message: dict[str, Any]) -> tuple[int, int, int]:
    """Tokens in, out, and cached of those in. An endpoint that doesn't say is estimated, so that caps hold."""
    if not isinstance(said, dict) or not said.get("prompt_tokens"):
        return len(json.dumps(asked)) // CHARACTERS, len(json.dumps(message)) // CHARACTERS, 0
    details = said.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") or said.get("cached_tokens") or said.get("prompt_cache_hit_tokens") or 0
    tokens_in = int(said["prompt_tokens"])
    return tokens_in, int(said.get("completion_tokens") or 0), min(int(cached), tokens_in)


def _micros(said: Any, profile: Profile, used: tuple[int, int, int]) -> int:
    """What the call cost: as the endpoint says (OpenRouter, in dollars), else by the profile's prices."""
    if isinstance(said, dict) and isinstance(said.get("cost"), int | float):
        return int(said["cost"] * 1_000_000)
    return profile.prices.micros(*used) if profile.prices else 0


def _calls(written: Any) -> tuple[ToolCall, ...]:
    """The tool calls, each with an id of its own: some endpoints forget them or give one twice."""
    calls: list[ToolCall] = []
    for call in written:
        name = str(call.get("id") or "")
        if not name or any(name == other.id for other in calls):
            name = f"call_{uuid4().hex[:12]}"
        function = call["function"]
        calls.append(ToolCall(id=name, name=str(function["name"]), arguments=_as_text(function.get("arguments"))))
    return tuple(calls)


def _as_text(arguments: Any) -> str:
    return _valid(arguments) if isinstance(arguments, str) else json.dumps(arguments or {})


def _valid(text: str) -> str:
    """The text without lone surrogates, which JSON may smuggle in and nothing can store."""
    return text.encode("utf-8", "replace").decode()
