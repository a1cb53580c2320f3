"""Houses that are broken on purpose. A test named after a number is that scenario of docs/guarantees.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.house import House
from tests.scripted import ScriptedModel

#: shorter still than in the end-to-end tests: most of these wait for a lease to end
QUICK = {
    "PURSUIT_LEASE": "1.5",
    "PURSUIT_BEAT": "0.3",
    "PURSUIT_SWEEP": "0.2",
    "PURSUIT_REDISPATCH": "1",
    "PURSUIT_CHORD_GRACE": "0.5",
}

#: for tests in which nobody may lose a lease, however busy the machine is
PATIENT = {"PURSUIT_LEASE": "6", "PURSUIT_BEAT": "0.5"}

MakeHouse = Callable[..., House]


@pytest.fixture(scope="session")
def model() -> Iterator[ScriptedModel]:
    model = ScriptedModel()
    model.start()
    yield model
    model.stop()


@pytest.fixture(autouse=True)
def prompt_model(model: ScriptedModel) -> Iterator[None]:
    model.delay = 0
    yield
    model.delay = 0


@contextmanager
def without_workers(folder: Path, model: ScriptedModel, **settings: str) -> Iterator[House]:
    """Redis and the API; a test brings its own workers."""
    house = House(folder, model_url=model.url, **{**QUICK, **settings})
    house.start_redis()
    house.start_api()
    try:
        yield house
    finally:
        house.stop()


@pytest.fixture
def make_house(tmp_path_factory: pytest.TempPathFactory, model: ScriptedModel) -> Iterator[MakeHouse]:
    """Makes houses that are gone after the test, whatever became of them."""
    made: list[House] = []

    def make(*, start: bool = True, **settings: Any) -> House:
        house = House(tmp_path_factory.mktemp("chaos"), model_url=model.url, **{**QUICK, **settings})
        made.append(house)
        if start:
            house.start()
        return house

    yield make
    for house in made:
        house.stop()
