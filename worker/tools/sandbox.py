"""Runs commands where they can do no harm: bubblewrap, or, by an explicit setting only, nothing around them.

Inside: a read-only system, the goal's workspace as the one place to write, no network unless granted, process ids of
its own that end with the command, and limits on memory, CPU, time and output.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from config.sandbox import bubblewrap, probe
from pursuit.contract import Frozen

#: seconds between looks at what a command's processes take together
WATCH = 0.2
OUTPUT_MOST = 1_000_000


#: in the environment of all that a command starts
MARK = "PURSUIT_COMMAND_MARK"


class Limits(Frozen):
    """The most a command may take."""

    memory_mb: int = 2_048
    cpu_seconds: int = 600
    processes: int = 512
    output: int = OUTPUT_MOST
    file_mb: int = 1_024


class Ended(Frozen):
    """What a command came to. `code` is None when it was stopped, and `why` says by what."""

    code: int | None
    output: bytes
    seconds: float
    why: str = ""


class Sandbox:
    """Carries commands out. `kind`: bubblewrap, or none for no sandbox at all."""

    def __init__(self, kind: str = "bubblewrap", limits: Limits | None = None) -> None:
        self.kind, self.limits = kind, limits or Limits()

    @property
    def available(self) -> bool:
        return self.kind == "none" or not probe()

    async def execute(
        self,
        command: str,
        folder: Path,
        *,
        timeout: float,
        network: bool = False,
        readable: Sequence[Path] = (),
        environment: dict[str, str] | None = None,
    ) -> Ended:
        """Runs a shell command in `folder`, the one place it may write to. All its processes are gone afterwards."""
        began = time.monotonic()
        argv, mark = self._limited(command), uuid4().hex
        if self.kind != "none":
            argv = [*bubblewrap(folder, network=network, readable=readable), *argv]
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=folder,
            env={**bare_environment(folder), **(environment or {}), MARK: mark},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        output = bytearray()
        read = asyncio.ensure_future(self._read(process, output))
        watch = asyncio.ensure_future(self._watch(process.pid))
        try:
            done, _ = await asyncio.wait({read, watch}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            why = "" if read in done else watch.result() if watch in done else f"stopped after {timeout:g} seconds"
            if len(output) >= self.limits.output:
                why = f"stopped: it wrote more than {self.limits.output} bytes"
        finally:
            for task in (read, watch):
                task.cancel()
            for number in {*tree(process.pid), *marked(mark)}:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(number, signal.SIGKILL)
            # asyncio waits for the pipe as well, and who has left the process group may hold it open
            process._transport.close()  # type: ignore[attr-defined]
            await process.wait()
        code = None if why else process.returncode
        return Ended(code=code, output=bytes(output), seconds=round(time.monotonic() - began, 3), why=why)

    def _limited(self, command: str) -> list[str]:
        """The command under the kernel's own limits, which all it starts inherit."""
        # address space is more than memory: runtimes reserve what they never touch; _watch sees to the real use
        limits = {"v": 4 * 1024 * self.limits.memory_mb, "t": self.limits.cpu_seconds, "c": 0}
        limits["f"] = 2048 * self.limits.file_mb  # in blocks of 512 bytes
        words = "; ".join(f"ulimit -{name} {value}" for name, value in limits.items())
        return ["/bin/sh", "-c", f'{words}; exec /bin/sh -c "$1"', "sh", command]

    async def _read(self, process: asyncio.subprocess.Process, output: bytearray) -> None:
        assert process.stdout is not None  # noqa: S101  told to the type checker
        while len(output) < self.limits.output and (chunk := await process.stdout.read(65_536)):
            output += chunk
        if len(output) < self.limits.output:
            await process.wait()

    async def _watch(self, pid: int) -> str:
        """Ends when the command's processes together take more memory or CPU than they may."""
        while True:
            await asyncio.sleep(WATCH)
            pids = await asyncio.to_thread(tree, pid)
            memory, seconds = usage(pids)
            if len(pids) > self.limits.processes:
                return f"stopped: it started more than {self.limits.processes} processes"
            if memory > self.limits.memory_mb * 2**20:
                return f"stopped: it took more than {self.limits.memory_mb} MiB of memory"
            if seconds > self.limits.cpu_seconds:
                return f"stopped: it took more than {self.limits.cpu_seconds} seconds of CPU"


def bare_environment(folder: Path) -> dict[str, str]:
    """Nothing of the worker's own environment: it holds keys. The interpreter of Pursuit is `python`."""
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def tree(pid: int) -> list[int]:
    """A process and all that descend from it, as /proc shows them; nothing where there is no /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    found, new = [], [pid]
    while new:
        found += new
        new = [child for parent in new for child in children.get(parent, [])]
    return found


def marked(mark: str) -> list[int]:
    """The processes that were started with this mark, also those that have left their parents."""
    found, wanted = [], f"{MARK}={mark}".encode()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError, ValueError):
            if wanted in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found


def usage(pids: Sequence[int]) -> tuple[int, float]:
    """Memory in bytes and CPU seconds that processes take together."""
    memory, ticks = 0, 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(words[11]) + int(words[12]) + int(words[13]) + int(words[14])
            memory += int(words[21]) * resource.getpagesize()
    return memory, ticks / os.sysconf("SC_CLK_TCK")
