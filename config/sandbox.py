"""Bubblewrap: the words in front of a command, and whether it works on this machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

#: what a command sees of the system, read-only; the interpreter of Pursuit is added
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/etc/alternatives", "/etc/ssl", "/etc/ca-certificates",
          "/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/localtime", "/etc/mime.types")  # fmt: skip
NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")
#: bytes of /tmp, which is gone with the command
SCRATCH = 256 * 2**20
CURE = (
    "Install bubblewrap (Debian, Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap). In a container allow "
    "user namespaces (docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined). Ubuntu 24.04 "
    "needs an AppArmor profile for bwrap. PURSUIT_SANDBOX=none runs commands without one, as the worker's user."
)


def bubblewrap(folder: Path, *, network: bool = False, readable: Sequence[Path] = ()) -> list[str]:
    """The words in front of a command. Workspaces lie under the data folder, which nothing else is shown of."""
    words = [
        shutil.which("bwrap") or "bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
    ]
    if network:
        words.append("--share-net")
    words += ["--proc", "/proc", "--dev", "/dev", "--hostname", "sandbox"]
    # what is kept in memory is limited too: the watch over memory doesn't see it
    words += ["--size", str(SCRATCH), "--tmpfs", "/tmp", "--size", str(SCRATCH), "--tmpfs", "/run"]  # noqa: S108
    shown = [Path(path) for path in (*SYSTEM, *(NETWORK if network else ()))]
    shown += [Path(sys.prefix), Path(sys.base_prefix), *readable]
    for path in dict.fromkeys(shown):
        if path.is_symlink() and str(path) in SYSTEM:
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists():
            words += ["--ro-bind", str(path.resolve()), str(path)]
    words += ["--bind", str(folder), str(folder)]
    if (folder / "inputs").is_dir():
        words += ["--ro-bind", str(folder / "inputs"), str(folder / "inputs")]
    return [*words, "--remount-ro", "/", "--chdir", str(folder)]


@cache
def probe() -> str:
    """Why bubblewrap can't be had here; '' when it works. Tried once a process, by really running a command."""
    if not sys.platform.startswith("linux"):
        return "bubblewrap needs Linux"
    if shutil.which("bwrap") is None:
        return "there is no bwrap on the PATH"
    folder = Path.cwd()
    try:
        ended = subprocess.run(
            [*bubblewrap(folder), "/bin/sh", "-c", "echo it works"], capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"bwrap can't be run: {error}"
    if ended.returncode == 0 and b"it works" in ended.stdout:
        return ""
    return f"bwrap fails: {ended.stderr.decode(errors='replace').strip()[:300]}"
