"""Where things lie on a machine when nobody says otherwise; the environment is passed in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

#: in the data folder: where a running local stack says how to reach it
STACK_FILE = "stack.json"


def state_folder(environment: Mapping[str, str]) -> Path:
    """The user's state folder for Pursuit (XDG base directories)."""
    base = environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "pursuit"


def data_folder(environment: Mapping[str, str]) -> Path:
    """The data folder: PURSUIT_DATA, else the user's state folder."""
    return Path(environment.get("PURSUIT_DATA") or state_folder(environment))
