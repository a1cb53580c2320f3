"""Runs the simulator over many seeds: `python -m tests.simulation --seeds 10000`; one alone: `--from 17 --seeds 1`."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from tempfile import TemporaryDirectory

from tests.simulation.server import redis_for
from tests.simulation.world import simulate


def run_seeds(seeds: list[int]) -> tuple[list[tuple[int, str]], Counter[str]]:
    """The seeds that failed, and how often what happened in the others."""
    failed: list[tuple[int, str]] = []
    seen: Counter[str] = Counter()
    with TemporaryDirectory() as folder, redis_for(folder) as redis:
        for seed in seeds:
            try:
                seen.update(simulate(seed, redis))
            except Exception:
                failed.append((seed, traceback.format_exc(limit=-6)))
    return failed, seen


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first one")
    parser.add_argument("--processes", type=int, default=2, help="how many at once")
    parser.add_argument("--stop", action="store_true", help="stop at the first violation")
    words = parser.parse_args()
    began, done = time.monotonic(), 0
    seeds = list(range(words.first, words.first + words.seeds))
    size = 10 if words.stop else 50
    chunks = [seeds[at : at + size] for at in range(0, len(seeds), size)]
    failures: list[tuple[int, str]] = []
    seen: Counter[str] = Counter()
    with ProcessPoolExecutor(words.processes) as pool:
        for chunk, (failed, counted) in zip(chunks, pool.map(run_seeds, chunks), strict=True):
            done += len(chunk)
            failures += failed
            seen += counted
            for seed, text in failed:
                print(
                    f"\nseed {seed} failed; replay it with: python -m tests.simulation --from {seed} --seeds 1\n{text}"
                )
            print(f"{done} of {len(seeds)} seeds, {len(failures)} violations", file=sys.stderr, flush=True)
            if failed and words.stop:
                pool.shutdown(cancel_futures=True)
                return 1
    for what, times in sorted(seen.items()):
        print(f"{times:12,}  {what}")
    rate = len(seeds) / (time.monotonic() - began)
    print(
        f"{len(seeds)} seeds, {len(failures)} violations, {time.monotonic() - began:.0f} s, {rate:.1f} seeds a second"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
