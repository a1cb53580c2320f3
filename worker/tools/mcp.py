"""Tools of MCP servers (modelcontextprotocol.io), over pipes or streamable HTTP, by the official SDK."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict

from config.settings import McpServer
from worker.llm.model import NotConfigured
from worker.tools.registry import Effect, Tool, ToolContext, ToolError

log = structlog.get_logger(__name__)

#: seconds for a server to answer that it is there, and to a call
CONNECT, CALL = 30.0, 300.0
_PLACE = re.compile(r"\$\{(\w+)\}")


class Anything(BaseModel):
    """Arguments that the server itself holds against its schema."""

    model_config = ConfigDict(extra="allow")


class Unreachable(Exception):
    """An MCP server that a goal counts on doesn't answer; the attempt is tried again."""


class Servers:
    """The MCP servers of a worker process, each connected when first needed, again when its connection breaks."""

    def __init__(self, configured: Mapping[str, McpServer]) -> None:
        self._configured = configured
        self._open: dict[str, Connection] = {}

    async def tools(self, wanted: Iterable[str]) -> list[Tool]:
        """The tools of the servers meant for all goals and of the wanted ones. Raises NotConfigured, Unreachable."""
        found: list[Tool] = []
        unknown = sorted(set(wanted) - set(self._configured))
        if unknown:
            known = ", ".join(self._configured) or "none"
            raise NotConfigured(f"there is no MCP server named {unknown[0]!r} on this worker; there are: {known}")
        for name, server in self._configured.items():
            if server.for_all or name in wanted:
                connection = self._connection(name)
                found += [self._tool(name, server, listed) for listed in await connection.listed()]
        return found

    async def close(self) -> None:
        for connection in self._open.values():
            await connection.close()

    def _connection(self, name: str) -> Connection:
        connection = self._open.get(name)
        if connection is None or connection.broken:
            connection = self._open[name] = Connection(name, self._configured[name])
        return connection

    def _tool(self, name: str, server: McpServer, listed: Any) -> Tool:
        hints = listed.annotations
        effect = Effect.AT_MOST_ONCE
        if listed.name in server.effects:
            effect = Effect(server.effects[listed.name])
        elif hints and hints.read_only_hint:
            effect = Effect.READ
        elif hints and hints.idempotent_hint:
            effect = Effect.REPEATABLE

        async def call(ctx: ToolContext, **arguments: Any) -> str:
            return await self._connection(name).call(listed.name, arguments, ctx.key)

        shown = re.sub(r"[^A-Za-z0-9_-]", "_", f"{name}_{listed.name}")[:64]
        return Tool(shown, listed.description or "", effect, Anything, call, dict(listed.input_schema), server.policy)


class Connection:
    """One server. A task of its own holds it open, as the SDK wants it closed where it was opened."""

    def __init__(self, name: str, server: McpServer) -> None:
        self._name, self._server = name, server
        loop = asyncio.get_running_loop()
        self._client: asyncio.Future[Any] = loop.create_future()
        self._closing = asyncio.Event()
        self._listed: list[Any] | None = None
        self._task = asyncio.create_task(self._hold())

    @property
    def broken(self) -> bool:
        return self._task.done()

    async def close(self) -> None:
        self._closing.set()
        await asyncio.wait({self._task}, timeout=5)

    async def listed(self) -> list[Any]:
        """What the server lists, read once a connection. Raises Unreachable."""
        if self._listed is None:
            client = await self._ready()
            found, cursor = [], None
            while True:
                page = await client.list_tools(cursor=cursor)
                found += page.tools
                cursor = page.next_cursor
                if not cursor:
                    break
            self._listed = found
        return self._listed

    async def call(self, tool: str, arguments: dict[str, Any], key: str) -> str:
        """The result as text. Raises ToolError. `key` is the same whenever this call is repeated."""
        client = await self._ready()
        try:
            result = await client.call_tool(tool, arguments, CALL, meta={"pursuit/idempotency-key": key})
        except Exception as error:
            self._closing.set()  # the next call connects anew
            raise ToolError(f"{self._name}: {type(error).__name__}: {error}") from error
        text = "\n".join(getattr(part, "text", None) or f"[{part.type}]" for part in result.content)
        if not text and result.structured_content is not None:
            text = json.dumps(result.structured_content, ensure_ascii=False)
        if result.is_error:
            raise ToolError(text or f"{tool} failed")
        return text

    async def _ready(self) -> Any:
        try:
            async with asyncio.timeout(CONNECT):
                return await asyncio.shield(self._client)
        except Exception as error:
            self._closing.set()
            raise Unreachable(f"MCP server {self._name}: {type(error).__name__}: {error}") from error

    async def _hold(self) -> None:
        from mcp.client.client import Client

        try:
            async with self._transport() as transport, Client(transport, read_timeout_seconds=CALL) as client:
                self._client.set_result(client)
                await self._closing.wait()
        except Exception as error:  # whatever the SDK, the pipes or the network raise
            log.warning("MCP server", server=self._name, error=f"{type(error).__name__}: {error}")
            if not self._client.done():
                self._client.set_exception(Unreachable(str(error)))
                self._client.exception()  # it is heard by who waits; nobody may wait any more

    @asynccontextmanager
    async def _transport(self) -> AsyncIterator[Any]:
        server = self._server
        if server.command:
            from mcp.client.stdio import StdioServerParameters

            env = {name: filled(value) for name, value in server.env.items()}
            yield StdioServerParameters(command=server.command, args=server.args, env=env)
            return
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        headers = {name: filled(value) for name, value in server.headers.items()}
        async with httpx2.AsyncClient(headers=headers, timeout=CALL) as http:
            yield streamable_http_client(server.url, http_client=http)


def filled(text: str) -> str:
    """The text with `${NAME}` replaced by the environment's. Raises NotConfigured for one that isn't set."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise NotConfigured(f"an MCP server's setting names ${{{match[1]}}}, which isn't set")
        return os.environ[match[1]]

    return _PLACE.sub(value, text)


def places(server: McpServer) -> list[str]:
    """The environment variables that a server's settings name: what they hold is secret."""
    return _PLACE.findall(" ".join([*server.env.values(), *server.headers.values()]))
