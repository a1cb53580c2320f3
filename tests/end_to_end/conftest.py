"""One house for most tests, with the scripted model behind real HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pursuit.client import Client
from tests.house import House
from tests.scripted import ScriptedModel


@pytest.fixture(scope="session")
def model() -> Iterator[ScriptedModel]:
    model = ScriptedModel()
    model.start()
    yield model
    model.stop()


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, model: ScriptedModel) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"), model_url=model.url)
    house.start()
    yield house
    house.stop()


@pytest.fixture
def own_house(tmp_path_factory: pytest.TempPathFactory, model: ScriptedModel) -> Iterator[House]:
    """A house of its own for a test that breaks things."""
    house = House(tmp_path_factory.mktemp("own"), model_url=model.url)
    house.start()
    yield house
    model.delay = 0
    house.stop()


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    with house.client() as client:
        yield client
