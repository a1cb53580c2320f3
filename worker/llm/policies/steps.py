"""What a policy says and hears: tool calls and their results."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

from pursuit.contract import Frozen


class Step(Frozen):
    """One tool call."""

    tool: str
    arguments: dict[str, Any]


class Result(Frozen):
    """What a tool call brought."""

    ok: bool
    text: str

    @property
    def data(self) -> Any:
        """The result as data; an error is an empty dict."""
        return json.loads(self.text) if self.ok else {}


def call(tool: str, **arguments: Any) -> Step:
    return Step(tool=tool, arguments=arguments)


def digest(answer: str, *, outcome: str = "done", **rest: Any) -> list[Step]:
    return [call("submit_digest", outcome=outcome, answer=answer, **rest)]


def read_all(pattern: str) -> Generator[list[Step], list[Result], dict[str, str]]:
    """All text files that match, page by page; a part of a policy."""
    found: dict[str, str] = {}
    after: str | None = ""
    while after is not None:
        (result,) = yield [call("read_files", pattern=pattern, after=after)]
        found |= {file["path"]: file["text"] for file in result.data.get("files", ())}
        after = result.data.get("next")
    return found


def write_json(path: str, value: Any) -> Step:
    return call("write_file", path=path, content=json.dumps(value, indent=1, sort_keys=True) + "\n")
