"""The checks of the example goal. What they expect they take from the environment, never from the work under test."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from icalendar import Calendar
from openpyxl import load_workbook

ENVIRONMENT = Path("inputs/env")


def installed() -> list[Distribution]:
    """The distributions that the interpreter of that environment would see."""
    folders = [str(path) for path in ENVIRONMENT.glob("lib/python*/site-packages")]
    return list(distributions(path=folders))


def sheet(title: str) -> list[dict[str, Any]]:
    """The rows of a sheet of audit.xlsx, by its header."""
    header, *rows = load_workbook("audit.xlsx", read_only=True)[title].values
    return [dict(zip(header, row, strict=True)) for row in rows]


def rows() -> list[str]:
    """Every installed distribution is exactly one row."""
    expected = sorted((d.metadata["Name"], d.version) for d in installed())
    found = sorted((row["distribution"], row["version"]) for row in sheet("distributions"))
    problems = [f"missing row: {name} {version}" for name, version in expected if (name, version) not in found]
    problems += [
        f"no such distribution: {name} {version}" for name, version in found if (name, version) not in expected
    ]
    if not problems and len(expected) != len(found):
        problems.append(f"{len(found)} rows for {len(expected)} distributions")
    if not expected:
        problems.append("no distribution is installed in inputs/env: nothing to compare with")
    return problems


def changes() -> list[str]:
    """The changed and missing files, worked out here anew, are the ones among the findings."""
    expected = set()
    for distribution in installed():
        for file in distribution.files or ():
            if file.hash is None or file.hash.mode != "sha256":
                continue
            path = Path(str(file.locate()))
            kind = "missing"
            if path.is_file():
                digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
                kind = "" if digest == file.hash.value else "changed"
            if kind:
                expected.add((kind, str(distribution.metadata["Name"]), str(file)))
    wanted = [row for row in sheet("findings") if row["kind"] in ("changed", "missing")]
    found = {(row["kind"], row["distribution"], row["detail"].split(" ", 1)[0]) for row in wanted}
    return [f"not among the findings: {item}" for item in sorted(expected - found)] + [
        f"a finding that isn't so: {item}" for item in sorted(found - expected)
    ]


def totals() -> list[str]:
    """The totals in the summary equal the sheet's."""
    text = Path("summary.md").read_text()
    every = sheet("distributions")
    expected = {
        "Distributions": len(every),
        "Files checked": sum(row["files checked"] for row in every),
        "Findings": len(sheet("findings")),
    }
    problems = []
    for name, value in expected.items():
        found = re.search(rf"^- {name}: (\d+)$", text, re.MULTILINE)
        if not found or int(found.group(1)) != value:
            problems.append(f"{name}: the sheet says {value}, the summary {found.group(1) if found else 'nothing'}")
    return problems


def invitation() -> list[str]:
    """The invitation parses and lies in the future."""
    events = list(Calendar.from_ical(Path("follow-up.ics").read_bytes()).walk("VEVENT"))
    if len(events) != 1:
        return [f"{len(events)} events instead of one"]
    start = events[0].decoded("dtstart")
    return [] if start > datetime.now(UTC) else [f"it began at {start}"]


def main() -> int:
    check = {"rows": rows, "changes": changes, "totals": totals, "invitation": invitation}[sys.argv[1]]
    try:
        problems = check()
    except FileNotFoundError as error:
        problems = [f"there is no {error.filename}"]
    print("\n".join(problems[:50]) or "holds")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
