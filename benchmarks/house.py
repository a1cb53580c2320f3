"""A house of real workers for benchmarks: Redis, workers, API, as `pursuit up` starts them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.house import House


@contextmanager
def running(**settings: str) -> Iterator[House]:
    """With default leases and no pretended thinking."""
    with TemporaryDirectory() as folder:
        house = House(Path(folder), model_url="http://127.0.0.1:9/v1", workers=2)
        for name in ("PURSUIT_LEASE", "PURSUIT_BEAT", "PURSUIT_SWEEP", "PURSUIT_REDISPATCH", "PURSUIT_CHORD_GRACE"):
            del house.env[name]
        house.env |= {"PURSUIT_MODEL": "rehearsal", "PURSUIT_REHEARSAL_SECONDS": "0", "PURSUIT_LOG_LEVEL": "WARNING"}
        house.env |= settings
        try:
            house.start()
            yield house
        finally:
            house.stop()
