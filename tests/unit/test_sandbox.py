"""Commands in bubblewrap: what they can't reach, and that nothing of them is left. Without bwrap the tool is off."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from config.sandbox import probe
from config.settings import Settings
from worker.runtime import make_sandbox
from worker.tools.sandbox import Ended, Limits, Sandbox

HERE = not probe()
needs_bwrap = pytest.mark.skipif(not HERE, reason=probe())
PYTHON = shlex.quote(sys.executable)


async def run(folder: Path, command: str, *, timeout: float = 20, kind: str = "bubblewrap", **limits: int) -> Ended:
    return await Sandbox(kind, Limits(**limits)).execute(command, folder, timeout=timeout)


def test_where_there_is_no_sandbox_nothing_runs_unless_it_is_said() -> None:
    assert (make_sandbox(Settings(commands="all", sandbox="bubblewrap")) is not None) is HERE
    assert make_sandbox(Settings(commands="off", sandbox="none")) is None
    assert make_sandbox(Settings(commands="all", sandbox="none")) is not None
    assert Settings().sandbox == "bubblewrap"


@needs_bwrap
async def test_a_command_works_in_its_folder_and_nowhere_else(tmp_path: Path) -> None:
    work, other = tmp_path / "work", tmp_path / "other"
    work.mkdir()
    other.mkdir()
    (other / "secret").write_text("mine")
    (work / "inputs").mkdir()
    ended = await run(work, f"echo hi > out.txt; cat out.txt; {PYTHON} -c 'print(6 * 7)'; cat {other}/secret")
    assert ended.output.startswith(b"hi\n42\n") and b"mine" not in ended.output and ended.code != 0
    assert (work / "out.txt").read_text() == "hi\n"
    for command in ("touch /usr/x", "touch /etc/x", f"touch {other}/x", "touch inputs/x", f"ls {Path.home()}/.ssh"):
        assert (await run(work, command)).code != 0, command
    assert list(other.iterdir()) == [other / "secret"]


@needs_bwrap
async def test_there_is_no_network_unless_granted(tmp_path: Path) -> None:
    look = f"{PYTHON} -c 'import socket; print(len(socket.if_nameindex()))'"
    alone = await run(tmp_path, look)
    granted = await Sandbox().execute(look, tmp_path, timeout=20, network=True)
    assert alone.output.strip() == b"1", "loopback only"
    assert int(granted.output) == len(__import__("socket").if_nameindex())


@needs_bwrap
async def test_it_sees_no_other_process_and_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_KEY", "planted")
    ended = await run(tmp_path, "env; ls /proc | grep -c '^[0-9]*$'")
    assert b"planted" not in ended.output
    assert int(ended.output.split()[-1]) < 8


@pytest.mark.parametrize("kind", [pytest.param("bubblewrap", marks=needs_bwrap), "none"])
@pytest.mark.parametrize(
    ("command", "words", "limits"),
    [
        (f"{PYTHON} -c 'x = bytearray(300 * 2**20); import time; time.sleep(20)'", "memory", {"memory_mb": 128}),
        ("while :; do :; done", "CPU", {"cpu_seconds": 1}),
        ("yes", "wrote more", {"output": 100_000}),
        ("sleep 30", "stopped after", {}),
    ],
)
async def test_what_takes_too_much_is_stopped(
    tmp_path: Path, kind: str, command: str, words: str, limits: dict[str, int]
) -> None:
    ended = await run(tmp_path, command, timeout=3 if words == "stopped after" else 15, kind=kind, **limits)
    # the kernel may be quicker than our watch: then the shell says "killed"
    assert ended.code != 0 and (words in ended.why or (words in ("CPU", "memory") and ended.code is not None))
    assert ended.seconds < 12 and len(ended.output) <= 200_000


@pytest.mark.parametrize("kind", [pytest.param("bubblewrap", marks=needs_bwrap), "none"])
async def test_its_process_tree_is_gone_afterwards(tmp_path: Path, kind: str) -> None:
    mark = f"4711{os.getpid()}"
    for command in (f"sleep {mark} & sleep {mark} & echo started", f"(setsid sleep {mark} &) ; sleep 30"):
        await run(tmp_path, command, timeout=1.5, kind=kind)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and (left := _running(mark)):
            time.sleep(0.05)
        assert not left, command
    for pid in _running(mark):
        os.kill(pid, 9)


def _running(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", mark.encode()]:
            found.append(int(entry.parent.name))
    return found
