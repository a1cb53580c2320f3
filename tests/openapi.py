"""Writes docs/openapi.json; a test holds the running server against it."""

from __future__ import annotations

import json
from pathlib import Path

from api.app import make_app
from config.settings import Settings

TARGET = Path(__file__).parents[1] / "docs" / "openapi.json"

if __name__ == "__main__":
    TARGET.write_text(json.dumps(make_app(Settings()).openapi(), indent=1, sort_keys=True) + "\n")
