"""Executes checks: what they print is evidence, whoever did the work says what they like.

Each command runs in a copy of the committed files that is thrown away: a check changes nothing, and sees nothing of
what another has left behind. What it holds the work against is put back first to how the goal's inputs had it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import httpx
import regex
from jsonschema import Draft202012Validator

from pursuit.blobs import Blobs
from pursuit.contract import CommandCheck, Contract, Criterion, FileCheck, HttpCheck
from pursuit.models import Evidence, Goal
from pursuit.tree import Tree, covered, fingerprint, read_list
from worker.files.states import fill
from worker.files.workspace import INPUTS, OutsideWorkspace, Workspace
from worker.runtime import Runtime
from worker.tools.command import execute
from worker.tools.page import request
from worker.tools.registry import ToolError
from worker.tools.sandbox import Sandbox

#: checks of one verification at the same time
AT_ONCE = 2
#: of matching a file's pattern
PATTERN_SECONDS = 10.0
#: a shell's own exit codes: found but not executable, not found
BROKEN = (126, 127)
NO_SANDBOX = "commands can't be run on this worker; `pursuit doctor` says why and what to do"

Trouble = Literal["", "broken", "unavailable"]


@dataclass(frozen=True)
class Ground:
    """What checks stand on: the committed files, those the goal began with, and what may be used to look at them."""

    workspace: Workspace
    tree: Tree
    base: Tree
    blobs: Blobs
    sandbox: Sandbox | None
    #: where copies are made for commands
    copies: Path
    #: whether addresses that aren't public may be asked
    private: bool


@dataclass(frozen=True)
class Seen:
    """What one look has brought."""

    passed: bool
    output: str
    trouble: Trouble = ""


def ground_of(runtime: Runtime, goal: Goal, workspace: Workspace) -> Ground:
    """What the checks of a goal stand on, on this worker."""
    imported = read_list(runtime.blobs.text(goal.imported)) if goal.imported else []
    return Ground(
        workspace=workspace,
        tree=workspace.tree,
        base={file.path: file for file in imported},
        blobs=runtime.blobs,
        sandbox=runtime.sandbox,
        copies=runtime.settings.workspace(goal.id) / "checks",
        # a person may ask their own machine; what a model drafted keeps to public addresses
        private=runtime.settings.fetch_private or goal.contract.author == "person",
    )


async def look(check: Any, ground: Ground) -> Seen:
    """One look at one check that can be executed."""
    return await LOOKS[check.kind](check, ground)


async def run_checks(
    contract: Contract, ground: Ground, *, known: Mapping[str, Evidence] = MappingProxyType({})
) -> list[Evidence]:
    """Evidence for each criterion whose check can be executed; `known`: recorded, of a goal that is replayed."""
    gate = asyncio.Semaphore(AT_ONCE)
    state = fingerprint(ground.tree)

    async def run(name: str, criterion: Criterion) -> Evidence:
        if name in known:
            return known[name]
        async with gate:
            began = time.monotonic()
            seen = await look(criterion.check, ground)
            return Evidence(
                criterion=name,
                kind=criterion.check.kind,
                passed=seen.passed,
                output=seen.output,
                seconds=round(time.monotonic() - began, 3),
                revision=contract.revision,
                at=datetime.now(UTC),
                trouble=seen.trouble,
                inputs=inputs_of(criterion, ground, state),
            )

    return await asyncio.gather(*(run(n, c) for n, c in contract.named() if c.check.kind in LOOKS))


def inputs_of(criterion: Criterion, ground: Ground, state: str) -> str:
    """The hash of what a check rests on: itself, and the files it can see; of a file's check, that file alone."""
    seen = state
    if isinstance(criterion.check, FileCheck):
        file = ground.tree.get(criterion.check.path)
        seen = file.sha256 if file else ""
    return hashlib.sha256(f"{criterion.check.model_dump_json()} {seen}".encode()).hexdigest()[:32]


async def _command(check: CommandCheck, ground: Ground) -> Seen:
    if ground.sandbox is None:
        return Seen(False, NO_SANDBOX, "unavailable")
    ground.copies.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ground.copies, prefix="check-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        await asyncio.to_thread(_copy, folder, check, ground)
        readable = list(ground.workspace.mounts.values())
        outcome = await execute(ground.sandbox, check.command, folder, readable, timeout=check.timeout_seconds)
    code = "no exit code" if outcome.code is None else f"exit code {outcome.code}"
    return Seen(outcome.code == 0, f"{code}\n{outcome.output}".strip(), "broken" if outcome.code in BROKEN else "")


def _copy(folder: Path, check: CommandCheck, ground: Ground) -> None:
    pristine = {path: file for path, file in ground.base.items() if covered(path, check.pristine)}
    others = {path: file for path, file in ground.tree.items() if not covered(path, check.pristine)}
    fill(folder, others | pristine, ground.blobs)
    inputs = folder / INPUTS
    inputs.mkdir(exist_ok=True)
    for name, source in ground.workspace.mounts.items():
        (inputs / name).symlink_to(source)
    folder.chmod(0o755)


async def _file(check: FileCheck, ground: Ground) -> Seen:
    return await asyncio.to_thread(_look_at, check, ground.workspace)


def _look_at(check: FileCheck, workspace: Workspace) -> Seen:
    try:
        real = workspace.readable(check.path)
    except OutsideWorkspace as error:
        return Seen(False, str(error))
    if not real.is_file():
        return Seen(False, f"there is no file {check.path}")
    found = [f"{check.path}: {real.stat().st_size} bytes"]
    text = real.read_text(errors="replace")
    good = _content(text, check.pattern, check.json_schema, found)
    if check.absent is not None:
        there = _finds(check.absent, text)
        found.append("what must not be there was found" if there else "what must not be there wasn't found")
        good = good and there is False
    return Seen(good, "; ".join(found))


async def _http(check: HttpCheck, ground: Ground) -> Seen:
    try:
        async with asyncio.timeout(check.timeout_seconds):
            response, body = await request(check.url, private=ground.private)
    except (ToolError, httpx.HTTPError, TimeoutError) as error:
        return Seen(False, f"{check.url}: {error or 'no answer in time'}")
    found = [f"{check.url}: status {response.status_code}, {len(body)} bytes"]
    text = body.decode(response.charset_encoding or "utf-8", errors="replace")
    good = await asyncio.to_thread(_content, text, check.pattern, check.json_schema, found)
    if response.status_code != check.status:
        return Seen(False, f"{found[0]}, {check.status} was expected\n{text[:2_000]}")
    return Seen(good, "; ".join(found))


def _content(text: str, pattern: str | None, schema: dict[str, Any] | None, found: list[str]) -> bool:
    """Holds a text against what it must be; says in `found` how it came out."""
    good = True
    if pattern is not None:
        there = _finds(pattern, text)
        words = {None: "takes too long to match; use a simpler one", True: "found", False: "not found"}
        found.append(f"pattern {words[there]}")
        good = there is True
    if schema is not None:
        problem = _misfit(text, schema)
        found.append(problem or "fits the JSON schema")
        good = good and not problem
    return good


def _finds(pattern: str, text: str) -> bool | None:
    try:
        return bool(regex.search(pattern, text, regex.MULTILINE, timeout=PATTERN_SECONDS, concurrent=True))
    except TimeoutError:
        return None


def _misfit(text: str, schema: dict[str, Any]) -> str:
    try:
        value = json.loads(text)
    except ValueError as error:
        return f"it is no JSON: {error}"
    errors = sorted(Draft202012Validator(schema).iter_errors(value), key=lambda e: list(map(str, e.absolute_path)))
    lines = [f"{'/'.join(map(str, e.absolute_path)) or 'it'}: {e.message[:200]}" for e in errors[:5]]
    return "doesn't fit the JSON schema: " + "; ".join(lines) if lines else ""


Look = Callable[[Any, Ground], Awaitable[Seen]]
LOOKS: dict[str, Look] = {"command": _command, "file": _file, "http": _http}
