"""A goal from flags and from a file. Flags add to what the file says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pursuit.errors import InvalidRequest


def build(
    objective: str | None,
    criteria: list[str] | None,
    checks: list[str] | None,
    inputs: list[str] | None,
    file: Path | None,
    rounds: int | None,
    steps: int | None,
    usd: float | None,
    labels: list[str] | None,
    signs: list[str] | None = None,
    constraints: list[str] | None = None,
) -> dict[str, Any]:
    """The submission. Raises InvalidRequest for a file that can't be read, or no objective at all."""
    goal = read(file) if file else {}
    if objective:
        goal["objective"] = sys.stdin.read() if objective == "-" else objective
    if not str(goal.get("objective") or "").strip():
        raise InvalidRequest("there is no objective", action="Give it as an argument, or in a file with -f.")
    goal["criteria"] = [*(goal.get("criteria") or []), *as_criteria(criteria, checks, signs)]
    goal["constraints"] = [*(goal.get("constraints") or []), *(constraints or ())]
    goal["inputs"] = [*(goal.get("inputs") or []), *(_input(text) for text in inputs or ())]
    goal["labels"] = {**(goal.get("labels") or {}), **dict(_pair(text, "--label") for text in labels or ())}
    limits = {"rounds": rounds, "steps": steps, "usd": usd}
    goal["budget"] = {**(goal.get("budget") or {}), **{k: v for k, v in limits.items() if v is not None}}
    return goal


def as_criteria(texts: list[str] | None, checks: list[str] | None, signs: list[str] | None) -> list[dict[str, Any]]:
    """Criteria from flags: judged ones, commands, and those that a person signs."""
    return [
        *({"text": text} for text in texts or ()),
        *({"text": f"`{c[:200]}` succeeds", "check": {"kind": "command", "command": c}} for c in checks or ()),
        *({"text": text, "check": {"kind": "human"}} for text in signs or ()),
    ]


def _input(text: str) -> dict[str, str]:
    """NAME=PATH or PATH; a relative path is this machine's, from here."""
    name, equals, path = text.partition("=")
    if not equals or "/" in name:
        name, path = "", text
    whole = str(Path(path).expanduser().absolute())
    return {"path": whole, **({"name": name} if name else {})}


def _pair(text: str, flag: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidRequest(f"{flag} {text!r} isn't KEY=VALUE")
    return name, value


def read(file: Path) -> dict[str, Any]:
    """A YAML or JSON file that holds a mapping. Raises InvalidRequest."""
    try:
        text = file.read_text()
    except OSError as error:
        raise InvalidRequest(f"{file}: {error.strerror}", action="Name a file that can be read.") from error
    try:
        whole = json.loads(text) if file.suffix == ".json" else _yaml(text)
    except ValueError as error:
        raise InvalidRequest(f"{file} is no YAML or JSON: {error}") from error
    if not isinstance(whole, dict):
        raise InvalidRequest(f"{file} must hold a mapping")
    for item in whole.get("inputs") or ():
        # relative to the file, so that an example works from any folder
        if isinstance(item, dict) and isinstance(item.get("path"), str):
            item["path"] = str((file.parent / Path(item["path"]).expanduser()).absolute())
    return whole


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
