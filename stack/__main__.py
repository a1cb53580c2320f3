"""What `pursuit up`, `worker`, `api`, `flower`, `doctor` and `config` run: `python -m stack <part> ...`.

They are started by command, so that the command line itself stays a client and starts fast.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from typing import Any

from pydantic import SecretStr, ValidationError

from config.settings import PREFIX, Settings
from pursuit.errors import PursuitError
from stack import commands

#: how a finding ends that has been put right
REPAIRED = "(put right)"


def main() -> int:
    words = _arguments()
    try:
        settings = Settings(**_overrides(words))
    except ValidationError as error:
        for line in error.errors():
            name = ".".join(map(str, line["loc"]))
            print(f"error: setting {name} ({PREFIX}{name.upper()}): {line['msg']}", file=sys.stderr)
        return 2
    match words.part:
        case "up":
            from stack import supervisor

            return supervisor.main(settings, until_idle=words.until_idle, flower=not words.no_flower, quiet=words.quiet)
        case "worker":
            count = words.concurrency or settings.concurrency
            return _become(commands.worker(words.queues, words.name, count), settings)
        case "api":
            return _become(commands.api(settings.host, settings.port), settings)
        case "flower":
            return _become(commands.flower(words.address, settings.flower_port or 5555), settings)
        case "doctor":
            if words.goal:
                return _check_goals(settings, words.goal, words.repair, words.output)
            return _doctor(settings, words.output)
        case "config":
            return _config(settings, words.output)
    return 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stack")
    parts = parser.add_subparsers(dest="part", required=True)
    up = parts.add_parser("up")
    up.add_argument("--workers", type=int)
    up.add_argument("--port", type=int)
    up.add_argument("--data")
    up.add_argument("--model")
    up.add_argument("--commands")
    up.add_argument("--until-idle", action="store_true")
    up.add_argument("--no-flower", action="store_true")
    up.add_argument("--quiet", action="store_true")
    worker = parts.add_parser("worker")
    worker.add_argument("--queues", default="subtasks,rounds")
    worker.add_argument("--name", default=f"worker{os.getpid()}")
    worker.add_argument("--concurrency", type=int)
    api = parts.add_parser("api")
    api.add_argument("--host")
    api.add_argument("--port", type=int)
    flower = parts.add_parser("flower")
    flower.add_argument("--address", default="127.0.0.1")
    flower.add_argument("--port", dest="flower_port", type=int)
    config = parts.add_parser("config")
    doctor = parts.add_parser("doctor")
    for part in (config, doctor):
        part.add_argument("--output", default="table")
    doctor.add_argument("--goal")
    doctor.add_argument("--repair", action="store_true")
    return parser.parse_args()


def _overrides(words: argparse.Namespace) -> dict[str, Any]:
    """Flags that are settings; those that weren't given leave the settings alone."""
    names = ("workers", "port", "data", "model", "commands", "host", "flower_port")
    return {name: getattr(words, name) for name in names if getattr(words, name, None) is not None}


def _become(argv: list[str], settings: Settings) -> int:
    """Becomes the part, its settings in the environment, so that signals reach it directly."""
    if settings.redis_url is None:
        from stack.redis import private_url

        url = private_url(settings.data)
        if url is None:
            print(f"error: PURSUIT_REDIS_URL isn't set, and no local stack runs in {settings.data}", file=sys.stderr)
            print("  Set it, or start the local stack with `pursuit up`.", file=sys.stderr)
            return 1
        os.environ["PURSUIT_REDIS_URL"] = url
    os.environ["PURSUIT_HOST"] = settings.host
    os.environ["PURSUIT_PORT"] = str(settings.port)
    os.execv(argv[0], argv)  # noqa: S606
    return 1


def _doctor(settings: Settings, output: str) -> int:
    from stack.doctor import examine

    lines = examine(settings)
    if output == "json":
        print(json.dumps([line.model_dump() for line in lines], indent=1))
    else:
        marks = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}
        for line in lines:
            print(
                f"{marks[line.level]} {line.name}: {line.text}" + (f"\n          -> {line.cure}" if line.cure else "")
            )
    return 1 if any(line.level == "error" for line in lines) else 0


def _check_goals(settings: Settings, wanted: str, repair: bool, output: str) -> int:
    """Exit code 1 where something was found that isn't put right."""
    from stack.checkup import check_goals

    try:
        found = asyncio.run(check_goals(settings, wanted, repair=repair))
    except PursuitError as error:
        print(f"error: {error.detail}\n  {error.cure}", file=sys.stderr)
        return 1
    if output == "json":
        print(json.dumps([checkup.model_dump() for checkup in found], indent=1))
    else:
        for checkup in found:
            verdict = "every invariant holds" if not checkup.findings else f"{len(checkup.findings)} findings"
            print(f"{checkup.goal} ({checkup.status}, {checkup.events} events): {verdict}")
            for line in checkup.findings:
                print(f"  {line}")
        print(f"{len(found)} goals checked", file=sys.stderr)
    return 1 if any(not line.endswith(REPAIRED) for checkup in found for line in checkup.findings) else 0


def _config(settings: Settings, output: str) -> int:
    """What is in force and where it came from; secrets are masked."""
    rows = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        origin = "default"
        if f"{PREFIX}{name.upper()}_FILE" in os.environ:
            origin = f"{PREFIX}{name.upper()}_FILE"
        elif f"{PREFIX}{name.upper()}" in os.environ:
            origin = f"{PREFIX}{name.upper()}"
        elif name in settings.model_fields_set:
            origin = "pursuit.toml"
        shown = "********" if isinstance(value, SecretStr) else str(value)
        rows.append({"setting": name, "value": shown, "from": origin})
    if output == "json":
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print(f"{row['setting']:20} {row['value']:40} {row['from']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
