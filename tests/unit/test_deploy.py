"""What is shipped for other machines: the Compose file against its schema, and every command it starts."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def against_schema(file: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(argv, capture_output=True, text=True)


def test_the_compose_file_fits_its_schema() -> None:
    checked = against_schema(DEPLOY / "compose.yaml")
    assert checked.returncode == 0, checked.stdout


def test_that_schema_would_notice_a_mistake(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((DEPLOY / "compose.yaml").read_text().replace("stop_grace_period", "stop_grace"))
    assert against_schema(wrong).returncode != 0


def commands() -> list[list[str]]:
    composed = [
        service["command"] for service in COMPOSE["services"].values() if service.get("image") == "pursuit:local"
    ]
    lines = [line.partition(": ")[2] for line in (DEPLOY / "Procfile").read_text().splitlines() if ": pursuit " in line]
    return composed + [shlex.split(re.sub(r"\$\{\w+:-(\w+)\}", r"\1", line))[1:] for line in lines]


@pytest.mark.parametrize("argv", commands(), ids=" ".join)
def test_every_command_that_is_started_has_these_options(argv: list[str]) -> None:
    options = [word for word in argv if word.startswith("--")]
    shown = subprocess.run([sys.executable, "-m", "pursuit.cli", argv[0], "--help"], capture_output=True, text=True)
    assert shown.returncode == 0
    assert all(option in shown.stdout for option in options)


def test_redis_keeps_what_it_is_told() -> None:
    command = " ".join(COMPOSE["services"]["redis"]["command"])
    assert "--appendonly yes" in command and "--maxmemory-policy noeviction" in command


def test_the_image_holds_every_package() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE))
    packages = re.search(r"packages = \[(.*)\]", (ROOT / "pyproject.toml").read_text())
    assert packages and copied == set(re.findall(r'"(\w+)"', packages.group(1)))


def test_nothing_is_published_beyond_loopback() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
