"""A worker whose clock is off by SKEW seconds: `python -m tests.chaos.skewed worker ...`, as celery takes it."""

import os
import sys
import time

skew, true_time = float(os.environ["SKEW"]), time.time
time.time = lambda: true_time() + skew  # type: ignore[method-assign]

if __name__ == "__main__":
    from celery.__main__ import main

    print(f"skewed by {os.environ['SKEW']}", flush=True)
    sys.exit(main())  # type: ignore[no-untyped-call]
