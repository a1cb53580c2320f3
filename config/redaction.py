"""Keeps secrets out of prompts, transcripts, events and logs: known values by what they are, others by their shape."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

#: what is put in a secret's place
MARK = "[redacted]"
#: shorter values are too likely to be ordinary words
SHORTEST = 8
_NAMES = re.compile(r"(^|_)(KEYS?|TOKENS?|SECRETS?|PASSWORD|PASSWD|CREDENTIALS?|APIKEY)(_FILE)?$", re.IGNORECASE)
#: keys as their issuers shape them: OpenAI and its kin, GitHub, AWS, Slack, Google, private keys, bearer tokens
_SHAPES = re.compile(
    r"sk-[A-Za-z0-9_-]{20,}"
    r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|xox[abprs]-[A-Za-z0-9-]{10,}"
    r"|\bAIza[0-9A-Za-z_-]{35}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----"
    r"|(?i:\bbearer\s+)[A-Za-z0-9._~+/-]{16,}=*",
    re.DOTALL,
)


class Redactor:
    """Replaces the given values, and whatever has the shape of a key."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        known = {value for value in values if len(value) >= SHORTEST}
        known |= {json.dumps(value)[1:-1] for value in known}
        # the longest first, so that no part of one is left standing
        self._known = sorted(known, key=len, reverse=True)

    def values(self, text: str) -> str:
        """The text without known values."""
        for value in self._known:
            if value in text:
                text = text.replace(value, MARK)
        return text

    def text(self, text: str) -> str:
        """The text without known values and without what looks like a key."""
        return _SHAPES.sub(MARK, self.values(text))

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """As a processor of structlog: every text of a log line."""
        for name, value in event.items():
            if isinstance(value, str):
                event[name] = self.text(value)
            elif isinstance(value, dict | list | tuple | BaseException):
                shown = str(value)
                if (clean := self.text(shown)) != shown:
                    event[name] = clean
        return event


def from_environment(environment: Mapping[str, str] | None = None, extra: Iterable[str] = ()) -> Redactor:
    """Knows what the variables hold whose names speak of keys, tokens, secrets and passwords, and passwords in URLs."""
    env = os.environ if environment is None else environment
    values = list(extra)
    for name, value in env.items():
        if name == "PURSUIT_SECRETS":
            continue  # names of secrets, no secrets
        if _NAMES.search(name):
            values += _file(value) if name.upper().endswith("_FILE") else [value]
        elif "://" in value and "@" in value:
            values += _password(value)
    return Redactor(values)


def _file(path: str) -> list[str]:
    try:
        return [Path(path).read_text().strip()]
    except OSError:
        return []


def _password(url: str) -> list[str]:
    try:
        password = urlsplit(url).password
    except ValueError:
        return []
    return [password] if password else []
