"""Errors as problem documents (RFC 9457): a stable `code`, what is wrong, and what to do about it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from pursuit.errors import InvalidField, InvalidRequest, PursuitError

log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"


def problem(error: PursuitError) -> JSONResponse:
    """The document for an error of the tree."""
    body = {
        "type": f"https://pursuit.invalid/problems/{error.code}",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
        "action": error.cure,
        **error.extra,
    }
    headers = {"Retry-After": "2"} if error.retryable else None
    return JSONResponse(body, status_code=error.status, media_type=MEDIA_TYPE, headers=headers)


def install(app: FastAPI) -> None:
    """Makes every error of this app a problem document."""

    @app.exception_handler(PursuitError)
    async def ours(_: Request, error: PursuitError) -> JSONResponse:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return problem(_explain(list(error.errors())))

    @app.exception_handler(HTTPException)
    async def framework(_: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        body = {
            "type": "about:blank",
            "title": status.phrase,
            "status": int(status),
            "code": status.name.lower(),
            "detail": str(error.detail),
            "action": "See /docs for the paths and methods there are.",
        }
        return JSONResponse(body, status_code=int(status), media_type=MEDIA_TYPE, headers=error.headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("unexpected error", path=request.url.path, exc_info=error)
        return problem(PursuitError())


def _explain(errors: list[dict[str, Any]]) -> PursuitError:
    if any(error["type"] == "json_invalid" for error in errors):
        where = errors[0].get("ctx", {}).get("error", "it ends too early or isn't JSON")
        return InvalidRequest(f"the body is no JSON: {where}", action="Send a JSON object.")
    fields = [
        {
            "field": ".".join(str(part) for part in error["loc"] if part not in ("body", "query", "path", "header")),
            "problem": error["msg"],
            "action": _cure(error),
        }
        for error in errors[:20]
    ]
    named = ", ".join(str(field["field"] or "body") for field in fields)
    return InvalidField(f"not as it should be: {named}", errors=fields)


def _cure(error: dict[str, Any]) -> str:
    kind, context = error["type"], error.get("ctx") or {}
    cures = {
        "missing": "Add this field.",
        "extra_forbidden": "Remove this field; see /docs for those there are.",
        "greater_than_equal": f"Use {context.get('ge')} or more.",
        "less_than_equal": f"Use {context.get('le')} or less.",
        "string_too_short": f"Use at least {context.get('min_length')} character(s).",
        "string_too_long": f"Use at most {context.get('max_length')} characters.",
        "too_long": f"Use at most {context.get('max_length')} items.",
        "union_tag_invalid": f"Use one of {context.get('expected_tags')}.",
    }
    return cures.get(kind) or f"Correct the value: {error['msg'].lower()}."
