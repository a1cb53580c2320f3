"""Executes checks: what they print is evidence, whoever did the work says what they like."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import regex

from pursuit.models import CommandCheck, Contract, Criterion, Evidence, FileCheck
from worker.files.workspace import OutsideWorkspace, Workspace
from worker.tools.command import execute
from worker.tools.sandbox import Sandbox

#: checks of one verification at the same time
AT_ONCE = 2
#: of matching a file's pattern
PATTERN_SECONDS = 10.0


async def run_checks(contract: Contract, workspace: Workspace, sandbox: Sandbox | None) -> list[Evidence]:
    """Evidence for each criterion whose check can be executed."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def run(name: str, criterion: Criterion) -> Evidence:
        async with gate:
            began = time.monotonic()
            passed, output = await _run(criterion, workspace, sandbox)
            return Evidence(
                criterion=name,
                kind=criterion.check.kind,
                passed=passed,
                output=output,
                seconds=round(time.monotonic() - began, 3),
                revision=contract.revision,
                at=datetime.now(UTC),
            )

    pairs = zip(contract.criterion_ids(), contract.criteria, strict=True)
    return await asyncio.gather(*(run(n, c) for n, c in pairs if c.check.kind != "judge"))


async def _run(criterion: Criterion, workspace: Workspace, sandbox: Sandbox | None) -> tuple[bool, str]:
    check = criterion.check
    if isinstance(check, CommandCheck):
        if sandbox is None:
            return False, "commands can't be run on this worker; `pursuit doctor` says why and what to do"
        outcome = await execute(sandbox, check.command, workspace, timeout=check.timeout_seconds)
        code = "no exit code" if outcome.code is None else f"exit code {outcome.code}"
        return outcome.code == 0, f"{code}\n{outcome.output}".strip()
    if isinstance(check, FileCheck):
        return await asyncio.to_thread(_file, check, workspace)
    raise AssertionError(f"{check.kind} can't be executed")


def _file(check: FileCheck, workspace: Workspace) -> tuple[bool, str]:
    try:
        real = workspace.readable(check.path)
    except OutsideWorkspace as error:
        return False, str(error)
    if not real.is_file():
        return False, f"there is no file {check.path}"
    size = real.stat().st_size
    if check.pattern is None:
        return True, f"{check.path} is there, {size} bytes"
    try:
        text = real.read_text(errors="replace")
        found = regex.search(check.pattern, text, regex.MULTILINE, timeout=PATTERN_SECONDS, concurrent=True)
    except TimeoutError:
        return False, f"{check.path}: the pattern takes too long to match; use a simpler one"
    return bool(found), f"{check.path}: pattern {'found' if found else 'not found'}, {size} bytes"
