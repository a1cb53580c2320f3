"""A real Redis server for the simulator, on a socket of its own; what it keeps is gone afterwards."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from redis import Redis, exceptions

from tests.servers import binaries


@contextmanager
def redis_for(folder: str | Path) -> Iterator[Redis]:
    """The newest server at hand, and silence from the house's log, which would drown the run."""
    socket = Path(folder) / "redis.sock"
    binary = next(path for name, path in binaries().items() if name != "redis-6.2")
    argv = [
        binary,
        "--port",
        "0",
        "--unixsocket",
        str(socket),
        "--dir",
        str(folder),
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        client = Redis(unix_socket_path=str(socket), decode_responses=True)
        for _ in range(500):
            try:
                client.ping()
                break
            except exceptions.ConnectionError:
                time.sleep(0.01)
        yield client
    finally:
        structlog.reset_defaults()
        process.kill()
        process.wait()
