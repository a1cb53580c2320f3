"""How each part is started. `pursuit worker`, `api` and `flower` are these, for systemd, Compose and Procfiles."""

from __future__ import annotations

import os
import sys

from config.settings import Settings


def worker(queues: str, name: str, concurrency: int, level: str = "INFO") -> list[str]:
    """A worker process: threads, because sub-agents wait for models; no prefetch, because that hoards."""
    return [
        sys.executable, "-m", "celery", "--app", "worker.app", "worker",
        "--queues", queues, "--hostname", f"{name}@%h", "--pool", "threads", "--concurrency", str(concurrency),
        "--disable-prefetch", "--without-gossip", "--without-mingle", "--loglevel", level,
    ]  # fmt: skip


def api(host: str, port: int) -> list[str]:
    """The API. Without the graceful timeout uvicorn waits for open event streams for ever."""
    return [
        sys.executable, "-m", "uvicorn", "--factory", "api.app:serve", "--host", host, "--port", str(port),
        "--timeout-graceful-shutdown", "3", "--no-access-log", "--log-level", "warning",
    ]  # fmt: skip


def flower(address: str, port: int) -> list[str]:
    """Flower, for the workers and queues; a goal's own history is in the API."""
    return [
        sys.executable, "-m", "celery", "--app", "worker.app", "flower",
        f"--address={address}", f"--port={port}", "--logging=warning",
    ]  # fmt: skip


def worker_count(settings: Settings) -> int:
    """Worker processes for sub-agents: as set, else one a core."""
    return settings.workers or os.cpu_count() or 1
