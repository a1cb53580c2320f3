"""A worker of the next version: `python -m tests.chaos.newer worker ...`, as celery takes it."""

import hashlib
import sys

from pursuit.store import scripts

for table in (scripts.SCRIPTS, scripts.FLAGGED):
    for script in table.values():
        script.text = script.text.replace("local SCHEMA, OLDEST = 3, 2", "local SCHEMA, OLDEST = 4, 3")
        script.sha = hashlib.sha1(script.text.encode(), usedforsecurity=False).hexdigest()

if __name__ == "__main__":
    from celery.__main__ import main

    sys.exit(main())  # type: ignore[no-untyped-call]
