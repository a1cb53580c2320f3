"""An MCP server for the tests: `python -m tests.mcp_server` over pipes, with a port over streamable HTTP."""

from __future__ import annotations

import os
import sys

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("weather")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def forecast(city: str) -> str:
    """What the weather will be."""
    return f"{city}: sun, says somebody with the key {os.environ.get('WEATHER_KEY', 'none')}"


@server.tool()
def order_rain(city: str, litres: int) -> str:
    """Have it rain; it can't be called off."""
    if litres > 100:
        raise ValueError("that much isn't in store")
    return f"{litres} litres for {city}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run(transport="streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run(transport="stdio")
