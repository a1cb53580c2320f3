"""What is left of a budget, and which part of it is used up. Pure."""

from __future__ import annotations

from pursuit.models import Budget, Usage


def used_up(budget: Budget, usage: Usage, *, rounds: int) -> str | None:
    """The first part of the budget that is spent, as a sentence, or None."""
    limits: list[tuple[str, float, float | None]] = [
        ("rounds", rounds, budget.rounds),
        ("steps", usage.steps, budget.steps),
        ("tokens", usage.tokens, budget.tokens),
        ("US dollars", usage.usd, budget.usd),
        ("seconds of wall-clock", usage.seconds, budget.wall_seconds),
    ]
    for name, used, limit in limits:
        if limit is not None and used >= limit:
            return f"all {limit:g} {name} are used"
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
