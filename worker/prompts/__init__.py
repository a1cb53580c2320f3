"""The prompts, as files, and the fence around what is data: people's words, tool output, web pages."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any


@cache
def prompt(name: str) -> str:
    """The text of worker/prompts/<name>.md."""
    return (resources.files("worker.prompts") / f"{name}.md").read_text().strip()


def fence(tag: str, data: Any) -> str:
    """Data as JSON between tags; nothing inside can close the fence, for `<` is escaped."""
    text = json.dumps(data, ensure_ascii=False, indent=1, default=str).replace("<", "\\u003c")
    return f"<{tag}>\n{text}\n</{tag}>"


def unfence(tag: str, text: str) -> Any:
    """The data that `fence` put into a text. Raises ValueError where there is none."""
    _, _, rest = text.partition(f"<{tag}>\n")
    body, found, _ = rest.partition(f"\n</{tag}>")
    if not found:
        raise ValueError(f"no <{tag}> in this text")
    return json.loads(body)
