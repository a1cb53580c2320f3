"""A plan made ready to run: its template filled in, and everything that forbids starting it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pursuit.models import Brief, Plan
from pursuit.tree import covered

PLACEHOLDER = "{item}"


def expand(plan: Plan, open_items: Sequence[str] = ()) -> list[Brief]:
    """The plan's briefs, one for each subtask and one for each item of its template.

    With `open_items` in the plan the template is for those items of the goal that nobody has closed yet.
    """
    briefs = list(plan.subtasks)
    if plan.template is not None:
        items = list(dict.fromkeys([*plan.items, *(open_items if plan.open_items else ())]))
        briefs += [_fill(plan.template, item) for item in items]
    return briefs


def fit(briefs: Sequence[Brief], left: int) -> list[Brief]:
    """The briefs with shares of the steps that are left: each as planned where they suffice, else the less for all.

    Nobody gets fewer than two, one to work and one to hand in: the budget itself is held elsewhere, call by call.
    """
    planned = sum(brief.steps for brief in briefs)
    if planned <= left or not briefs:
        return list(briefs)
    return [brief.model_copy(update={"steps": max(2, brief.steps * left // planned)}) for brief in briefs]


def _fill(template: Brief, item: str) -> Brief:
    fields = template.model_dump()
    for name in ("title", "objective", "expected", "stop_rule"):
        fields[name] = fields[name].replace(PLACEHOLDER, item)
    fields["title"] = fields["title"][:120]
    for name in ("inputs", "write_scope"):
        fields[name] = tuple(text.replace(PLACEHOLDER, item) for text in fields[name])
    fields["item"] = item
    return Brief.model_validate(fields)


def problems(briefs: list[Brief], *, tools: Collection[str], most: int, boundaries: Sequence[str] = ()) -> list[str]:
    """What is wrong with the briefs, in words a planner can act on; empty when they may start."""
    if not briefs:
        return ["the plan has no subtasks: propose at least one, or name a blocker"]
    if len(briefs) > most:
        return [f"the plan has {len(briefs)} subtasks, at most {most} may run in a round"]
    return [
        *_duplicates(briefs),
        *_unknown_tools(briefs, tools),
        *_overlaps(briefs),
        *_dependencies(briefs),
        *_forbidden(briefs, boundaries),
    ]


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


def _dependencies(briefs: list[Brief]) -> list[str]:
    """Subtasks that want to read what another one of the same round is to write: it won't be there yet."""
    owners = {scope.strip("/"): number for number, brief in enumerate(briefs, 1) for scope in brief.write_scope}
    found = []
    for number, brief in enumerate(briefs, 1):
        for path in brief.inputs:
            clean = path.strip("/")
            owner = next((owners[p] for p in (*_parents(clean), clean) if p in owners), number)
            if owner != number:
                found.append(f"subtask {number} reads {path!r}, which subtask {owner} writes in the same round")
    return found[:10]


def _forbidden(briefs: list[Brief], boundaries: Sequence[str]) -> list[str]:
    return [
        f"subtask {number} may write {scope!r}, but nobody may: it lies in the goal's boundaries"
        for number, brief in enumerate(briefs, 1)
        for scope in brief.write_scope
        if covered(scope.strip("/"), boundaries)
    ][:10]


def _parents(scope: str) -> list[str]:
    parts = scope.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts))]
    return above if scope in ("", ".") else [".", *above]
