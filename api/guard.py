"""What stands in front of every request: its size, and that no web page of elsewhere sends it."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from pursuit.errors import InvalidRequest, PursuitError, TooLarge

BODY_MOST = 1_000_000
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "testserver"})


class Guard:
    """Refuses bodies over 1 MB, and on a loopback server names and origins that aren't loopback.

    A page in a browser can reach loopback, also under a name of its own (DNS rebinding); Host and Origin give it
    away. A server on another address stands behind a proxy that knows its names.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._local = host in LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        refused = self._foreign(request) or self._large(request)
        if refused is not None:
            await problem(refused)(scope, receive, send)
            return
        body = await _body(receive)
        if body is None:
            await problem(TooLarge(f"a body may have at most {BODY_MOST} bytes"))(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    def _foreign(self, request: Request) -> PursuitError | None:
        if not self._local:
            return None
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        if host not in LOOPBACK:
            return InvalidRequest(f"this server answers to loopback names, not to {host[:100]!r}")
        origin = request.headers.get("origin")
        if origin and request.method not in ("GET", "HEAD") and urlsplit(origin).hostname not in LOOPBACK:
            return InvalidRequest("a page of another origin may not send this")
        return None

    def _large(self, request: Request) -> PursuitError | None:
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > BODY_MOST:
            return TooLarge(f"a body may have at most {BODY_MOST} bytes")
        return None


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None when it grows over the limit, whatever it said of its length."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > BODY_MOST:
            return None
        if not message.get("more_body"):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hands the body on in one piece, and after it whatever else comes, such as the disconnect."""
    handed = False

    async def replay() -> Message:
        nonlocal handed
        if handed:
            return await receive()
        handed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
