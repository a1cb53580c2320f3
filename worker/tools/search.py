"""Search the web, by a provider that the operator chooses: SearXNG, Tavily, Brave, or DuckDuckGo without a key."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import httpx
from pydantic import Field

from pursuit.contract import Frozen
from worker.tools.registry import Effect, Tool, ToolContext, ToolError, tool

SECONDS = 20.0
SNIPPET = 500


class Hit(Frozen):
    """One page that was found."""

    title: str
    url: str
    text: str = ""


#: a query and how many hits at most
Search = Callable[[str, int], Awaitable[list[Hit]]]


def search_tool(setting: str) -> Tool:
    """The tool for a `search` setting: a provider's name, for SearXNG with its address; `provider:url` for another
    address than the usual one. Raises ValueError, saying what to set."""
    search = provider(setting)

    @tool(Effect.READ)
    async def search_web(
        ctx: ToolContext,
        query: Annotated[str, Field(min_length=1, max_length=400)],
        results: Annotated[int, Field(ge=1, le=20)] = 8,
    ) -> dict[str, Any]:
        """Search the web; you get titles, addresses and snippets. Read a page with fetch_page before you rely on it."""
        try:
            async with asyncio.timeout(SECONDS):
                hits = await search(query, results)
        except (httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise ToolError(f"the search failed: {type(error).__name__}: {str(error)[:300]}") from error
        return {"query": query, "results": [hit.model_dump() for hit in hits[:results]]}

    return search_web


def provider(setting: str) -> Search:
    """Who searches. Raises ValueError."""
    name, _, url = setting.partition(":")
    match name:
        case "searxng":
            if not url:
                raise ValueError("PURSUIT_SEARCH=searxng:<address of your SearXNG>")
            return lambda query, most: _searxng(url, query)
        case "tavily":
            key = _key("TAVILY_API_KEY")
            return lambda query, most: _tavily(url or "https://api.tavily.com", key, query, most)
        case "brave":
            key = _key("BRAVE_API_KEY")
            return lambda query, most: _brave(url or "https://api.search.brave.com", key, query, most)
        case "duckduckgo":
            return _duckduckgo
    raise ValueError(f"PURSUIT_SEARCH is {setting!r}; it must be searxng:<url>, tavily, brave or duckduckgo")


def _key(variable: str) -> str:
    if not os.environ.get(variable):
        raise ValueError(f"this search provider needs {variable}")
    return os.environ[variable]


async def _searxng(url: str, query: str) -> list[Hit]:
    params = {"q": query, "format": "json"}
    found = await _json("GET", f"{url.rstrip('/')}/search", params=params)
    return [_hit(row["title"], row["url"], row.get("content")) for row in found["results"]]


async def _tavily(url: str, key: str, query: str, most: int) -> list[Hit]:
    body = {"query": query, "max_results": most}
    found = await _json("POST", f"{url}/search", json=body, headers={"Authorization": f"Bearer {key}"})
    return [_hit(row["title"], row["url"], row.get("content")) for row in found["results"]]


async def _brave(url: str, key: str, query: str, most: int) -> list[Hit]:
    params = {"q": query, "count": str(most)}
    found = await _json("GET", f"{url}/res/v1/web/search", params=params, headers={"X-Subscription-Token": key})
    rows = (found.get("web") or {}).get("results") or []
    return [_hit(row["title"], row["url"], row.get("description")) for row in rows]


async def _duckduckgo(query: str, most: int) -> list[Hit]:
    from ddgs import DDGS
    from ddgs.exceptions import DDGSException

    try:
        rows = await asyncio.to_thread(lambda: DDGS(timeout=int(SECONDS)).text(query, max_results=most))
    except DDGSException as error:
        raise ToolError(f"the search failed: {error}") from error
    return [_hit(row["title"], row["href"], row.get("body")) for row in rows]


def _hit(title: Any, url: Any, text: Any) -> Hit:
    return Hit(title=str(title)[:300], url=str(url), text=str(text or "")[:SNIPPET])


async def _json(method: str, url: str, **over: Any) -> Any:
    async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as client:
        response = await client.request(method, url, **over)
        response.raise_for_status()
        return response.json()
