"""A plan made ready to run: its template filled in, and everything that forbids starting it. Pure."""

from __future__ import annotations

from collections.abc import Collection

from pursuit.models import Brief, Plan

PLACEHOLDER = "{item}"


def expand(plan: Plan) -> list[Brief]:
    """The plan's briefs, one for each subtask and one for each item of its template."""
    briefs = list(plan.subtasks)
    if plan.template is not None:
        briefs += [_fill(plan.template, item) for item in plan.items]
    return briefs


def _fill(template: Brief, item: str) -> Brief:
    fields = template.model_dump()
    for name in ("title", "objective", "expected", "stop_rule"):
        fields[name] = fields[name].replace(PLACEHOLDER, item)
    fields["title"] = fields["title"][:120]
    for name in ("inputs", "write_scope"):
        fields[name] = tuple(text.replace(PLACEHOLDER, item) for text in fields[name])
    fields["item"] = item
    return Brief.model_validate(fields)


def problems(briefs: list[Brief], *, tools: Collection[str], most: int) -> list[str]:
    """What is wrong with the briefs, in words a planner can act on; empty when they may start."""
    if not briefs:
        return ["the plan has no subtasks: propose at least one, or name a blocker"]
    if len(briefs) > most:
        return [f"the plan has {len(briefs)} subtasks, at most {most} may run in a round"]
    return [*_duplicates(briefs), *_unknown_tools(briefs, tools), *_overlaps(briefs)]


def _duplicates(briefs: list[Brief]) -> list[str]:
    seen: dict[tuple[str, str], int] = {}
    found = []
    for number, brief in enumerate(briefs, 1):
        first = seen.setdefault((brief.objective, brief.item), number)
        if first != number:
            found.append(f"subtasks {first} and {number} have the same objective")
    return found[:10]


def _unknown_tools(briefs: list[Brief], tools: Collection[str]) -> list[str]:
    unknown = sorted({tool for brief in briefs for tool in brief.tools} - set(tools))
    return [f"there is no tool named {tool!r}; there are: {', '.join(sorted(tools))}" for tool in unknown[:10]]


def _overlaps(briefs: list[Brief]) -> list[str]:
    """Pairs of subtasks of which one may write inside the other's write scope.

    A scope covers its own path and all below it; "" and "." cover everything.
    """
    owners: dict[str, int] = {}
    found = []
    scopes = [(scope.strip("/"), n) for n, brief in enumerate(briefs, 1) for scope in brief.write_scope]
    for scope, number in scopes:
        other = owners.setdefault(scope, number)
        if other != number:
            found.append(f"subtasks {other} and {number} may both write {scope!r}")
    for scope, number in scopes:
        for parent in _parents(scope):
            other = owners.get(parent, number)
            if other != number:
                found.append(f"subtask {number} writes {scope!r} inside {parent!r} of subtask {other}")
    return found[:10]


def _parents(scope: str) -> list[str]:
    parts = scope.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
