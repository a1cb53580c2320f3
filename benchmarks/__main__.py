"""`python -m benchmarks [step] [rounds] [turnaround] [scripts] [recovery]`: all of them without a name."""

from __future__ import annotations

import asyncio
import sys

from benchmarks import recovery, rounds, scripts, step, turnaround

ALL = {
    "step": step.main,
    "scripts": scripts.main,
    "turnaround": turnaround.main,
    "rounds": rounds.main,
    "recovery": recovery.main,
}


def main() -> int:
    names = sys.argv[1:] or list(ALL)
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are: {', '.join(ALL)}", file=sys.stderr)
        return 2
    for name in names:
        print(f"\n== {name}: {(sys.modules[ALL[name].__module__].__doc__ or '').splitlines()[0]}", flush=True)
        result = ALL[name]()
        if asyncio.iscoroutine(result):
            asyncio.run(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
