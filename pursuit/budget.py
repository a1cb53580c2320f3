"""What is left of a budget, and which part of it is used up. Pure."""

from __future__ import annotations

from pursuit.models import Budget, Usage

#: shares that are kept for closing; the scripts hold to the same (store/lua/_lib.lua), and a test compares them
KEPT = {"steps": 0.02, "tokens": 0.1, "US dollars": 0.1}


def used_up(budget: Budget, usage: Usage, *, rounds: int) -> str | None:
    """The first part of the budget that no more work may be paid from, as a sentence, or None."""
    limits: list[tuple[str, float, float | None]] = [
        ("rounds", rounds, budget.rounds),
        ("steps", usage.steps, budget.steps),
        ("tokens", usage.tokens, budget.tokens),
        ("US dollars", usage.usd, budget.usd),
        ("seconds of wall-clock", usage.seconds, budget.wall_seconds),
    ]
    for name, used, limit in limits:
        if limit is not None and used >= limit - KEPT.get(name, 0) * limit:
            rest = "" if used >= limit else f", but for what is kept for closing ({used:g} used)"
            return f"all {limit:g} {name} are used{rest}"
    return None


def share(budget: Budget, usage: Usage) -> float:
    """The largest used share of any limited part except rounds, 0 to 1 and beyond."""
    parts = [usage.steps / budget.steps]
    if budget.tokens:
        parts.append(usage.tokens / budget.tokens)
    if budget.usd:
        parts.append(usage.usd / budget.usd)
    if budget.wall_seconds:
        parts.append(usage.seconds / budget.wall_seconds)
    return max(parts)
