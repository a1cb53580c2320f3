"""Fetch a page as text: only public addresses unless the settings say otherwise; redirects re-checked."""

from __future__ import annotations

import asyncio
import io
import ipaddress
import socket
from fnmatch import fnmatch
from typing import Annotated, Any
from urllib.parse import urljoin, urlsplit

import httpx
from pydantic import Field

from worker.tools.registry import Effect, ToolContext, ToolError, tool

BYTES_MOST = 20_000_000
PAGES_MOST = 500
SECONDS = 30
HOPS = 5


@tool(Effect.READ)
async def fetch_page(
    ctx: ToolContext, url: Annotated[str, Field(max_length=2_000, description="http or https address")]
) -> dict[str, Any]:
    """Fetch a web page or a PDF and get its readable text, with tables and links."""
    async with asyncio.timeout(SECONDS):
        response, body = await request(url, hosts=ctx.network_allow, private=ctx.fetch_private)
    url = str(response.extensions["asked"])
    if response.status_code >= 400:
        raise ToolError(f"{url} answered {response.status_code}")
    kind = response.headers.get("content-type", "").partition(";")[0]
    text = body.decode(response.charset_encoding or "utf-8", errors="replace")
    if kind in ("text/html", "application/xhtml+xml"):
        text = await asyncio.to_thread(_readable, text)
    elif kind == "application/pdf":
        text = await asyncio.to_thread(_pages, body)
    elif not (kind.startswith("text/") or kind.endswith(("json", "xml"))):
        raise ToolError(f"{url} is {kind or 'of unknown type'}, not text")
    return {"url": url, "type": kind, "text": text}


async def request(url: str, *, hosts: tuple[str, ...] = (), private: bool = False) -> tuple[httpx.Response, bytes]:
    """The answer of an address, redirects followed; each hop is held against the goal's hosts and the guard.

    Raises ToolError. The address that answered stands in the response's extension `asked`.
    """
    for _ in range(HOPS):
        _granted(url, hosts)
        address = await _allowed(url, private=private)
        response, body = await _get(url, address)
        if not response.is_redirect:
            response.extensions["asked"] = url
            return response, body
        url = urljoin(url, response.headers["location"])
    raise ToolError(f"more than {HOPS} redirects")


def _granted(url: str, hosts: tuple[str, ...]) -> None:
    """Holds an address against the goal's list of hosts; `*.example.org` stands for all below it."""
    host = (urlsplit(url).hostname or "").lower()
    if hosts and not any(fnmatch(host, allowed) for allowed in hosts):
        raise ToolError(f"{host} isn't among the hosts that this goal may reach: {', '.join(hosts)}")


async def _allowed(url: str, *, private: bool) -> str:
    """An address of the host that may be connected to; all that it resolves to must be public."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ToolError("the address must begin with http:// or https:// and name a host")
    if parts.username or parts.password:
        raise ToolError("addresses with a user name or password are not fetched")
    loop = asyncio.get_running_loop()
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = await loop.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise ToolError(f"{parts.hostname} can't be resolved: {error}") from error
    addresses = [str(row[4][0]) for row in found]
    for address in addresses:
        ip = ipaddress.ip_address(address.partition("%")[0])
        if not private and (not ip.is_global or ip.is_multicast):
            raise ToolError(f"{parts.hostname} is at {ip}, which is not a public address")
    return addresses[0]


async def _get(url: str, address: str) -> tuple[httpx.Response, bytes]:
    """One request to the address that was checked, so that a second look-up can't lead elsewhere."""
    parts = urlsplit(url)
    host = f"[{address}]" if ":" in address else address
    port = f":{parts.port}" if parts.port else ""
    pinned = parts._replace(netloc=f"{host}{port}").geturl()
    headers = {
        "Host": parts.netloc,
        "User-Agent": "Pursuit",
        "Accept": "text/html, text/*, application/json, application/pdf",
    }
    body = bytearray()
    try:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=SECONDS) as client,
            client.stream(
                "GET", pinned, headers=headers, extensions={"sni_hostname": parts.hostname or ""}
            ) as response,
        ):
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > BYTES_MOST:
                    raise ToolError(f"{url} is larger than {BYTES_MOST} bytes")
    except httpx.HTTPError as error:
        raise ToolError(f"{url} can't be fetched: {type(error).__name__} {error}") from error
    return response, bytes(body)


def _pages(content: bytes) -> str:
    """The text of a PDF, page by page."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        pages = PdfReader(io.BytesIO(content)).pages
        texts = [page.extract_text() for page in pages[:PAGES_MOST]]
        more = len(pages) - len(texts)
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ToolError(f"this PDF can't be read: {type(error).__name__}: {str(error)[:200]}") from error
    parts = [f"[page {number}]\n{text}" for number, text in enumerate(texts, 1)]
    return "\n\n".join([*parts, *([f"[{more} more pages]"] if more else [])])


def _readable(html: str) -> str:
    import trafilatura

    text = trafilatura.extract(html, include_links=True, include_tables=True)
    return text or ""
