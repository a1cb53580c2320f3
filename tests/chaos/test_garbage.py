"""What is left in Redis when all goals are over: nothing that grows with them and doesn't expire."""

from __future__ import annotations

from redis import Redis

from tests.chaos.conftest import MakeHouse
from tests.chaos.witness import completed
from tests.house import House, eventually
from tests.scripted import ScriptedModel


def lasting(house: House) -> set[str]:
    """The keys without expiry of Pursuit and of Celery."""
    found = set()
    for database in "01":
        with Redis.from_url(house.redis_url.removesuffix("0") + database, decode_responses=True) as redis:
            found |= {key for key in redis.keys("*") if redis.ttl(key) == -1}
    return found


def test_nothing_without_expiry_is_left_but_what_is_there_for_any_number_of_goals(
    make_house: MakeHouse, model: ScriptedModel
) -> None:
    house = make_house()
    model.on("[garbage]", lambda call: None)
    for number in range(2):
        completed(house, house.submit(f"Leave nothing {number} [garbage]", inputs=[house.items(20)]))
    with house.client() as client:
        client.cancel(house.submit("Cancelled at once", inputs=[house.items(20)]))
    fixed = {"pursuit:config", *(f"pursuit:{{s{shard:02d}}}:server" for shard in range(4))}

    def only_fixed() -> bool:
        return {key for key in lasting(house) if not key.startswith("_kombu.binding")} <= fixed

    eventually(only_fixed, seconds=10)
    bindings = {key for key in lasting(house) if key.startswith("_kombu.binding")}
    assert len(bindings) < 10
