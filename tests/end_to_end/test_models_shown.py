"""Models over HTTP: who pays, how the account stands, and a real tool call to try one."""

from __future__ import annotations

import httpx

from tests.house import House
from tests.scripted import ScriptedModel, says


def test_models_show_who_pays_and_never_a_key(house: House) -> None:
    answer = httpx.get(f"{house.url}/v1/models")
    shown = {item["name"]: item for item in answer.json()["items"]}
    own = shown["openai:scripted"]
    assert own["roles"] == ["planner", "subagent", "verifier"] and own["payer"] and own["limits"]["window"] > 0
    assert shown["spare-3"]["prices"]["output"] == 10.0 and shown["spare-3"]["roles"] == []
    assert shown["small"]["window"] == 9_000
    assert "sk-scripted" not in answer.text and "key-number" not in answer.text


def test_a_model_is_tried_with_a_real_tool_call(house: House, model: ScriptedModel) -> None:
    model.on("Use the add tool", lambda call: says("", ("add", {"a": 19, "b": 23})))
    tried = httpx.post(f"{house.url}/v1/models/check", json={"name": "spare-2"}).json()
    assert tried["ok"] and "calls tools" in tried["text"] and tried["payer"]
    unknown = httpx.post(f"{house.url}/v1/models/check", json={"name": "nobody:nothing"})
    assert unknown.status_code == 422 and "nobody" in unknown.json()["detail"]


def test_a_model_that_calls_no_tool_is_told_apart(house: House, model: ScriptedModel) -> None:
    model.on("Use the add tool", lambda call: says("It is 42."))
    tried = httpx.post(f"{house.url}/v1/models/check", json={}).json()
    assert not tried["ok"] and "calls no tool" in tried["text"]
