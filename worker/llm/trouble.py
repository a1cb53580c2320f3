"""What an endpoint's refusal means, by status, headers and words: providers agree on none of the three."""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from worker.llm.model import (
    ModelError,
    NotConfigured,
    QuotaUsedUp,
    RateLimited,
    Refused,
    Rejected,
    TooLong,
    Unavailable,
)

QUOTA = ("quota", "insufficient", "billing", "balance", "credit", "usage limit", "usage_limit", "suspended")
TOO_LONG = (
    "context length", "context_length", "maximum context", "context window", "context size", "exceed_context",
    "too many tokens", "token limit", "prompt is too long",
)  # fmt: skip
REFUSED = ("content filter", "content_filter", "moderation", "flagged", "high risk", "safety", "content policy")
#: seconds; a provider that asks for no more than this when a "quota" is used up means a rate
RATE_MOST = 120.0


def error_of(name: str, response: httpx.Response) -> ModelError:
    """The typed error of an answer that is none."""
    text = f"{name} answered {response.status_code}: {response.text[:500]}"
    status, said = response.status_code, response.text.lower()
    after = retry_after(response.headers)
    if status in (402, 403, 429) and any(word in said for word in QUOTA):
        if status == 429 and after is not None and after <= RATE_MOST:
            return RateLimited(text, after)
        return QuotaUsedUp(text, _reset(response, after))
    if status == 429:
        return RateLimited(text, after)
    if status in (400, 403, 422) and any(word in said for word in REFUSED):
        return Refused(text)
    if status in (401, 403, 404):
        return NotConfigured(text)
    if status in (400, 413, 422, 500) and any(word in said for word in TOO_LONG):
        return TooLong(text)
    if status in (408, 409, 425) or status >= 500:
        return RateLimited(text, after) if after is not None else Unavailable(text)
    return Rejected(text)


def retry_after(headers: httpx.Headers) -> float | None:
    """Seconds that the provider asks to wait, written as milliseconds, seconds or a date (RFC 9110, 10.2.3)."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        try:
            return max(0.0, float(value) * unit)
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except ValueError:
            continue
    return None


def _reset(response: httpx.Response, after: float | None) -> float | None:
    """The unix time at which a used-up quota is there again, where the provider says so."""
    try:
        said: Any = json.loads(response.text)
    except ValueError:
        said = {}
    error = said.get("error") if isinstance(said, dict) else None
    fields: dict[str, Any] = {**(said if isinstance(said, dict) else {}), **(error if isinstance(error, dict) else {})}
    for name in ("resets_in_seconds", "reset_after_seconds"):
        if isinstance(fields.get(name), int | float):
            return time.time() + float(fields[name])
    for value in (fields.get("resets_at"), fields.get("reset_at"), response.headers.get("x-ratelimit-reset")):
        try:
            at = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        at = at / 1000 if at > 1e11 else at  # OpenRouter writes milliseconds
        if at > time.time():
            return at
    return time.time() + after if after is not None else None
