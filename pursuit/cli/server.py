"""Finds the server to talk to, and starts the local stack where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pursuit.client import Client
from pursuit.errors import PursuitError, ServerUnreachable
from pursuit.folders import STACK_FILE, data_folder

DEFAULT_URL = "http://127.0.0.1:8700"
START_SECONDS = 45.0


def known_url() -> str:
    """PURSUIT_URL, else the local stack that says it runs, else the default address."""
    if url := os.environ.get("PURSUIT_URL"):
        return url
    return str((_stack() or {}).get("url", DEFAULT_URL))


def connect() -> Client:
    """A client of the server there is; whether it answers shows at the first call."""
    return Client(known_url(), key=os.environ.get("PURSUIT_API_KEY"))


def answers(client: Client) -> bool:
    try:
        client.health()
    except ServerUnreachable:
        return False
    except PursuitError:
        return True  # it is there, and will say itself what is wrong
    return True


class LocalStack:
    """A local stack started for the time of a goal. It ends by itself when no goal is active."""

    def __init__(self, *, model: str | None, commands: str) -> None:
        folder = data_folder(os.environ)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        argv = [sys.executable, "-m", "stack", "up", "--until-idle", "--no-flower", "--commands", commands]
        argv += ["--model", model] if model else []
        self._errors = (folder / "start.log").open("w+")
        self.log = folder / "stack.log"
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors, start_new_session=True
        )

    def wait(self) -> Client:
        """A client once the stack answers. Raises PursuitError with what the stack said."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            known = _stack()
            if known and known.get("pid") == self._process.pid:
                return Client(str(known["url"]))
            time.sleep(0.05)
        self._errors.seek(0)
        said = [line for line in self._errors.read().strip().splitlines() if line][-2:]
        raise PursuitError(
            said[0].removeprefix("error: ") if said else "the local stack doesn't start",
            action=said[1] if len(said) > 1 else f"See {self.log}, or run `pursuit doctor`.",
        )

    def banner(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def end(self, seconds: float = 30.0) -> bool:
        """Waits for the stack to end, as it does when nothing is active; False if other goals keep it."""
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def _stack() -> dict[str, Any] | None:
    try:
        whole: dict[str, Any] = json.loads((data_folder(os.environ) / STACK_FILE).read_text())
    except (OSError, ValueError):
        return None
    return whole


def local_files(goal: str, state: str) -> Path | None:
    """The folder with the goal's committed files, where this machine holds it. They are to be read, not written."""
    folder = data_folder(os.environ) / "goals" / goal / "states" / state
    return folder if state and folder.is_dir() else None
