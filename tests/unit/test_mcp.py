"""MCP servers for real: over pipes and over HTTP, with the official SDK on both sides."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from config.settings import McpServer
from pursuit.models import JobRef
from tests.servers import free_port, wait_for_port
from worker.files.workspace import Workspace
from worker.llm.model import NotConfigured
from worker.tools import Effect, Toolbox, ToolContext
from worker.tools.mcp import Servers, Unreachable

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[McpServer]:
    port = free_port()
    with (tmp_path / "mcp.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "tests.mcp_server", str(port)], cwd=ROOT, stderr=log)
    try:
        wait_for_port(port)
        yield McpServer(url=f"http://127.0.0.1:{port}/mcp", for_all=True)
    finally:
        process.kill()
        process.wait()


def pipes(**over: Any) -> McpServer:
    env = {"PYTHONPATH": str(ROOT), "WEATHER_KEY": "${WEATHER_SECRET}"}
    return McpServer(command=sys.executable, args=["-m", "tests.mcp_server"], env=env, **over)


def box(tools: list[Any], tmp_path: Path) -> Toolbox:
    async def nobody(_: str) -> None:
        return None

    context = ToolContext(
        ref=JobRef(goal="goal_01", job="r1-001"), workspace=Workspace(tmp_path), write_scope=(), answer_to=nobody
    )
    return Toolbox({tool.name: tool for tool in tools}, context)


async def test_a_server_over_pipes_gets_its_secret_and_its_tools_have_effects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEATHER_SECRET", "w-4711")
    servers = Servers({"weather": pipes(effects={}, for_all=False)})
    try:
        assert await servers.tools([]) == [], "a goal must name it"
        tools = await servers.tools(["weather"])
        assert {t.name: t.effect for t in tools} == {
            "weather_forecast": Effect.READ,
            "weather_order_rain": Effect.AT_MOST_ONCE,
        }
        bench = box(tools, tmp_path)
        worked, text, _ = await bench.run("weather_forecast", '{"city": "Ulm"}', "k")
        assert worked and text == "Ulm: sun, says somebody with the key w-4711"
        schema = next(s for s in bench.schemas() if s["function"]["name"] == "weather_order_rain")
        assert schema["function"]["parameters"]["required"] == ["city", "litres"]
        assert (await bench.run("weather_order_rain", '{"city": "Ulm", "litres": 500}', "k"))[0] is False
    finally:
        await servers.close()


async def test_a_server_over_http_and_one_that_has_gone(http: McpServer, tmp_path: Path) -> None:
    servers = Servers({"w": http})
    try:
        bench = box(await servers.tools([]), tmp_path)
        assert (await bench.run("w_order_rain", '{"city": "Ulm", "litres": 5}', "k"))[:2] == (True, "5 litres for Ulm")
    finally:
        await servers.close()
    gone = Servers({"w": McpServer(url=f"http://127.0.0.1:{free_port()}/mcp", for_all=True)})
    with pytest.raises(Unreachable, match="w"):
        await gone.tools([])
    await gone.close()


async def test_what_is_not_configured_says_so() -> None:
    with pytest.raises(NotConfigured, match="there are: none"):
        await Servers({}).tools(["nowhere"])
    assert "WEATHER_SECRET" not in os.environ
    servers = Servers({"weather": pipes(for_all=True)})
    with pytest.raises((NotConfigured, Unreachable), match="WEATHER_SECRET"):
        await servers.tools([])
    await servers.close()
