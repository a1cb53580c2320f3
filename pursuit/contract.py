"""What a goal is held to: objective, criteria with their checks, constraints, boundaries, in numbered revisions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

MAX_OBJECTIVE = 20_000

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]{1,63}$")]


def _relative(path: str) -> str:
    parts = path.replace("\\", "/").split("/")
    if path.startswith("/") or ".." in parts:
        raise ValueError("must be a path inside the workspace, without '..'")
    return "/".join(part for part in parts if part not in ("", ".")) or "."


def _expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"must be a regular expression: {error}") from error
    return pattern


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"must be a JSON schema: {error.message}") from error
    return schema


RelativePath = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_relative)]
Pattern = Annotated[str, StringConstraints(max_length=1_000), AfterValidator(_expression)]
Schema = Annotated[dict[str, Any], AfterValidator(_schema)]


class Frozen(BaseModel):
    """A value: it doesn't change, and knows all its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Lenient(Frozen):
    """A value written by a model: fields that nobody asked for are dropped, not refused."""

    model_config = ConfigDict(frozen=True, extra="ignore")


# --- checks -------------------------------------------------------------------------------------


class CommandCheck(Frozen):
    """Passes when the command, run by /bin/sh in a copy of the goal's committed files, exits with 0."""

    kind: Literal["command"] = "command"
    command: Text = Field(max_length=4_000)
    timeout_seconds: int = Field(120, ge=1, le=3_600)
    pristine: tuple[RelativePath, ...] = Field(
        (),
        max_length=50,
        description="files and folders that stand as the goal's inputs had them while the command runs, whatever was "
        "done to them since: what is expected never comes from the work",
    )


class FileCheck(Frozen):
    """Passes when the file exists in the workspace and its content is as asked for."""

    kind: Literal["file"] = "file"
    path: RelativePath
    pattern: Pattern | None = Field(None, description="must be found in the text")
    absent: Pattern | None = Field(None, description="must not be found in the text")
    json_schema: Schema | None = Field(None, description="the file must be JSON that fits (draft 2020-12)")


class HttpCheck(Frozen):
    """Passes when the address answers as asked for."""

    kind: Literal["http"] = "http"
    url: Annotated[str, StringConstraints(pattern=r"^https?://", max_length=2_000)]
    status: int = Field(200, ge=100, le=599)
    pattern: Pattern | None = Field(None, description="must be found in the body")
    json_schema: Schema | None = Field(None, description="the body must be JSON that fits")
    timeout_seconds: int = Field(30, ge=1, le=300)


class JudgeCheck(Frozen):
    """A model judges from contract, artifacts and evidence."""

    kind: Literal["judge"] = "judge"


class HumanCheck(Frozen):
    """A person signs it off, once everything else is met."""

    kind: Literal["human"] = "human"
    question: str = Field("", max_length=2_000, description="what to look at before signing")


Check = Annotated[CommandCheck | FileCheck | HttpCheck | JudgeCheck | HumanCheck, Field(discriminator="kind")]
#: kinds whose outcome no model decides
PROVABLE = frozenset({"command", "file", "http", "human"})


class Criterion(Frozen):
    """One thing that must be true at the end, with the check that shows it."""

    text: Line
    check: Check = JudgeCheck()
    id: str = Field("", pattern=r"^(c[1-9]\d{0,3})?$", description="given by the server; names it in an amendment")


def numbered(criteria: Sequence[Criterion], taken: int = 0) -> tuple[Criterion, ...]:
    """The criteria with an id each; those without one get numbers beyond `taken`, so that no id ever comes again."""
    found = []
    for criterion in criteria:
        if not criterion.id:
            taken += 1
            criterion = criterion.model_copy(update={"id": f"c{taken}"})
        found.append(criterion)
    return tuple(found)


class Contract(Frozen):
    """Objective, criteria, constraints and boundaries in a numbered revision; the first objective never changes."""

    revision: int
    objective: str
    criteria: tuple[Criterion, ...]
    constraints: tuple[str, ...]
    #: paths in the workspace that nobody may write
    boundaries: tuple[str, ...] = ()
    #: what people said with each amendment, oldest first
    notes: tuple[str, ...] = ()
    #: who wrote the criteria; `engine`: nobody did, so a judge has to find the objective met
    author: Literal["person", "planner", "engine"] = "person"
    #: the highest number that a criterion has had
    highest: int = 0

    def criterion_ids(self) -> list[str]:
        return [c.id or f"c{number}" for number, c in enumerate(self.criteria, 1)]

    def named(self) -> list[tuple[str, Criterion]]:
        return list(zip(self.criterion_ids(), self.criteria, strict=True))

    def provable(self) -> bool:
        """Whether something other than a model's judgement has to come out right before the goal is met."""
        return any(criterion.check.kind in PROVABLE for criterion in self.criteria)

    def warnings(self) -> list[str]:
        """What a person should know of this contract."""
        if self.provable():
            return []
        return [
            "no criterion has a check that is executed or signed by a person: whether the goal is met rests on a "
            "model's judgement alone; add one with --check, or PATCH the goal"
        ]


def unspecified(objective: str, constraints: Sequence[str] = (), boundaries: Sequence[str] = ()) -> Contract:
    """The contract of a goal without criteria, until the planner drafts some: that its objective is met."""
    only = Criterion(text="The objective is met in full.", id="c1")
    return Contract(
        revision=1,
        objective=objective,
        criteria=(only,),
        constraints=tuple(constraints),
        boundaries=tuple(boundaries),
        author="engine",
    )


class Amendment(Frozen):
    """What a person changes of a contract; what isn't named stays."""

    criteria: list[Criterion] | None = Field(
        None, min_length=1, max_length=50, description="all of them from now on; those with an `id` keep what they had"
    )
    constraints: list[Line] | None = Field(None, max_length=50)
    boundaries: list[RelativePath] | None = Field(None, max_length=50)
    note: str = Field("", max_length=2_000, description="why, or how the objective is to be read from now on")


def amend(contract: Contract, amendment: Amendment) -> Contract:
    """The next revision. Raises ValueError for an id that the contract doesn't have, or that comes twice."""
    update: dict[str, Any] = {"revision": contract.revision + 1}
    if amendment.criteria is not None:
        named = [c.id for c in amendment.criteria if c.id]
        strange = sorted(set(named) - set(contract.criterion_ids()))
        if strange:
            raise ValueError(f"there is no criterion {strange[0]!r}; leave `id` out to add one")
        if len(set(named)) != len(named):
            raise ValueError("two criteria have the same `id`")
        taken = max([contract.highest, *(int(name[1:]) for name in contract.criterion_ids())])
        criteria = numbered(amendment.criteria, taken)
        highest = max([contract.highest, *(int(c.id[1:]) for c in criteria)])
        update |= {"criteria": criteria, "author": "person", "highest": highest}
    if amendment.constraints is not None:
        update["constraints"] = tuple(amendment.constraints)
    if amendment.boundaries is not None:
        update["boundaries"] = tuple(amendment.boundaries)
    if amendment.note.strip():
        update["notes"] = (*contract.notes, amendment.note.strip())
    return contract.model_copy(update=update)


def draft(contract: Contract, criteria: Sequence[Criterion]) -> Contract:
    """The next revision, with the criteria that the planner proposes in place of none."""
    named = numbered([c.model_copy(update={"id": ""}) for c in criteria])
    update = {"revision": contract.revision + 1, "criteria": named, "author": "planner", "highest": len(named)}
    return contract.model_copy(update=update)


# --- waiting ------------------------------------------------------------------------------------


class Wait(Lenient):
    """Something outside the goal that it waits for, at no cost: no model is called meanwhile."""

    kind: Literal["timer", "http", "command", "goal"]
    seconds: int = Field(60, ge=1, le=604_800, description="timer: how long; else between two looks")
    url: str = Field("", max_length=2_000, description="http: waits until it answers with a status below 400")
    command: str = Field("", max_length=4_000, description="command: waits until it exits with 0")
    goal: str = Field("", max_length=60, description="goal: waits until that goal has come to its end")
    most_seconds: int = Field(86_400, ge=1, le=604_800, description="after which it is waited for no longer")
    why: str = Field("", max_length=500)
    by: Literal["person", "model"] = Field("model", description="set by the server: who asked for it")

    def problem(self) -> str:
        """What is missing, in words; '' when it can be waited for."""
        needed = {"timer": "seconds", "http": "url", "command": "command", "goal": "goal"}[self.kind]
        if not getattr(self, needed):
            return f"a wait of kind {self.kind!r} needs {needed!r}"
        if self.kind == "http" and not self.url.startswith(("http://", "https://")):
            return "the address to wait for must begin with http:// or https://"
        return ""
