"""Results on stdout: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any


def say(text: str) -> None:
    """Progress and hints, on stderr."""
    print(text, file=sys.stderr, flush=True)


def show(value: Any, output: str) -> bool:
    """Prints the value as JSON or JSON lines if that is asked for; says whether it was."""
    if output == "json":
        print(json.dumps(value, indent=1, ensure_ascii=False))
    elif output == "jsonl":
        for item in value["items"] if isinstance(value, dict) and "items" in value else [value]:
            print(json.dumps(item, ensure_ascii=False))
    else:
        return False
    return True


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table as wide as the terminal allows; plain tab-separated lines where there is none."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(_cell(value) for value in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="ellipsis", no_wrap=True)
    for row in rows:
        drawn.add_row(*(Text(_cell(value)) for value in row))
    Console().print(drawn)


def _cell(value: Any) -> str:
    return " ".join(str("" if value is None else value).split())
