"""What a tool is: a typed function, its schema, its effect; and the box that runs the tools of one job."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property, partial, wraps
from importlib import metadata
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticUserError

from pursuit.models import JobRef, question_id
from worker.files.workspace import OutsideWorkspace, Workspace, Written
from worker.tools.sandbox import Sandbox

log = structlog.get_logger(__name__)

#: The most characters of a result that go back to the model; the middle is cut out of a longer one.
MOST = 200_000


class Effect(StrEnum):
    """What happens when a tool is run again after its record was lost."""

    READ = "read"
    REPEATABLE = "repeatable"
    AT_MOST_ONCE = "at_most_once"


#: whether a tool may be used: freely, after a person's word each time, or not at all
Policy = Literal["allow", "ask", "deny"]


class ToolError(Exception):
    """The tool couldn't do it; the words go back to the model."""


class NeedsAnswer(Exception):
    """The tool waits for a person; the job is parked until the answer is there."""

    def __init__(
        self,
        question: str,
        text: str,
        options: tuple[str, ...],
        kind: Literal["question", "approval", "sign_off"] = "question",
    ) -> None:
        super().__init__(text)
        self.question, self.text, self.options, self.kind = question, text, options, kind


async def _nothing() -> set[str]:
    return set()


async def _no_digest(subtask: str) -> str | None:
    return None


@dataclass(frozen=True)
class ToolContext:
    """What a tool may know of the job it works for. `key` is the same whenever this call is repeated."""

    ref: JobRef
    workspace: Workspace
    write_scope: tuple[str, ...]
    answer_to: Callable[[str], Awaitable[str | None]]
    fetch_private: bool = False
    #: hosts that the goal may reach; empty: all public ones
    network_allow: tuple[str, ...] = ()
    #: gives the value of a secret that the operator lets tools use, by its name
    secret: Callable[[str], str] = lambda name: ""
    sandbox: Sandbox | None = None
    #: keeps a long text and gives it back by its hash
    keep: Callable[[str], str] = lambda text: ""
    kept: Callable[[str], str] = lambda name: ""
    #: answers of earlier approvals, by tool: the tools that a person always allows in this goal
    always: Callable[[], Awaitable[set[str]]] = _nothing
    #: gives a sub-agent's whole digest, by its subtask
    digest: Callable[[str], Awaitable[str | None]] = _no_digest
    #: tools that a person lets be called again and again with the same result
    polling: frozenset[str] = frozenset()
    #: characters of a result that are shown
    most: int = MOST
    key: str = ""


@dataclass(frozen=True)
class Tool:
    """A typed function as models see it."""

    name: str
    description: str
    effect: Effect
    arguments: type[BaseModel]
    function: Callable[..., Awaitable[Any]]
    #: the schema to show, where `arguments` isn't it
    parameters: dict[str, Any] | None = None
    policy: Policy = "allow"

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The tool as chat completions take it."""
        parameters = self.parameters or self.arguments.model_json_schema()
        parameters.pop("title", None)
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": parameters},
        }


def tool(effect: Effect) -> Callable[[Callable[..., Awaitable[Any]]], Tool]:
    """Makes a tool of an async function whose first parameter is a ToolContext.

    Name, description and schema come from the function's name, docstring and annotations.
    """

    def make(function: Callable[..., Awaitable[Any]]) -> Tool:
        parameters = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        description = inspect.getdoc(function) or ""
        return Tool(function.__name__, description, effect, _arguments(function.__name__, parameters), function)

    return make


class Ran(NamedTuple):
    """What a call came to: whether it worked, the text for the model, and the files it has changed."""

    worked: bool
    text: str
    changes: Mapping[str, Written] = MappingProxyType({})


class Toolbox:
    """The tools that one job may use."""

    def __init__(
        self, tools: dict[str, Tool], context: ToolContext, *, policy: dict[str, Policy] | None = None, most: int = MOST
    ) -> None:
        said = policy or {}
        self._policy = {name: stricter(tool.policy, said.get(name, "allow")) for name, tool in tools.items()}
        self._tools = {name: tool for name, tool in tools.items() if self._policy.get(name) != "deny"}
        self._context, self._most = replace(context, most=most), most

    def names(self) -> list[str]:
        return list(self._tools)

    def schemas(self) -> list[dict[str, Any]]:
        return [tool.schema for tool in self._tools.values()]

    def effect(self, name: str) -> Effect:
        return self._tools[name].effect if name in self._tools else Effect.READ

    async def permit(self, name: str, arguments: str, key: str) -> str | None:
        """None when the call may be made, else why not. Raises NeedsAnswer while a person has yet to decide.

        The approval holds for this call with exactly these arguments.
        """
        if self._policy.get(name) != "ask" or name not in self._tools or name in await self._context.always():
            return None
        question = approval_id(self._context.ref.goal, name, hashed(key, arguments))
        answer = await self._context.answer_to(question)
        if answer is None:
            text = f"May {self._context.ref.job} call {name} with these arguments?\n{arguments[:1_500]}"
            raise NeedsAnswer(question, text, ("approve", "deny", "always"), "approval")
        return None if answer.strip().lower() in ("approve", "always", "yes") else f"a person denied this: {answer}"

    async def settle(self, name: str, arguments: str, key: str) -> tuple[bool, str] | None:
        """What became of a call that was begun and never recorded, by a person's word; None: it is to be made again."""
        question = question_id(self._context.ref.goal, hashed(key, "begun"))
        answer = await self._context.answer_to(question)
        if answer is None:
            text = (
                f"{self._context.ref.job} began to call {name}, and its worker died before the outcome was recorded. "
                f"Did it take effect? It is never repeated without your word.\n{arguments[:1_500]}"
            )
            raise NeedsAnswer(question, text, (DONE_BEFORE, DO_AGAIN))
        if answer.strip().lower() == DO_AGAIN:
            return None
        return answer.strip().lower() == DONE_BEFORE, f"the outcome was lost; a person says: {answer}"

    def restore(self, changes: Mapping[str, Written]) -> None:
        """Brings the workspace to where recorded calls have left it."""
        self._context.workspace.restore(changes)

    def polls(self, name: str) -> bool:
        """Whether a person has said that this tool may bring the same again and again."""
        return name in self._context.polling

    async def run(self, name: str, arguments: str, key: str) -> Ran:
        """Runs one call. Only NeedsAnswer is raised."""
        context = replace(self._context, key=key, workspace=self._context.workspace.for_call())
        worked, text = await self._run(name, arguments, context)
        return Ran(worked, text, context.workspace.changes)

    async def _run(self, name: str, arguments: str, context: ToolContext) -> tuple[bool, str]:
        chosen = self._tools.get(name)
        if chosen is None:
            return False, f"there is no tool named {name!r}; there are: {', '.join(sorted(self._tools))}"
        try:
            values = chosen.arguments.model_validate_json(arguments or "{}")
        except ValidationError as error:
            return False, f"the arguments don't fit {name}: {explain(error)}"
        try:
            result = await chosen.function(context, **dict(values))
        except (ToolError, OutsideWorkspace) as error:
            return False, str(error)
        except NeedsAnswer:
            raise
        except Exception as error:
            # whatever a tool stumbles over goes back to the model: it may know another way, and the attempt lives
            log.info("tool failed", tool=name, error=str(error))
            return False, f"{name} failed: {type(error).__name__}: {error}"[:2_000]
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
        if len(text) <= self._most:
            return True, text
        name = await asyncio.to_thread(self._context.keep, text)
        where = f'; the whole is kept: read_output(output="{name}", offset=...)' if name else ""
        return True, cut(text, self._most, where)


#: a person's answers to what became of a call that was begun
DONE_BEFORE, DO_AGAIN = "it took effect", "run it again"


def stricter(one: Policy, other: Policy) -> Policy:
    return max(one, other, key=("allow", "ask", "deny").index)


def hashed(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def approval_id(goal: str, name: str, about: str) -> str:
    """The question whether a tool may be called; the tool can be told from it."""
    return question_id(goal, f"{about}-{name}")


def cut(text: str, most: int = MOST, where: str = "") -> str:
    """A long text without its middle: beginnings and ends say the most."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters cut{where} …\n{text[-half:]}"


def explain(error: ValidationError, most: int = 8) -> str:
    """Validation errors in one line a model can act on."""
    lines = [f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']}" for e in error.errors()[:most]]
    more = error.error_count() - len(lines)
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")


def standard_tools(*, commands: bool, more: Sequence[str] = (), search: str = "") -> dict[str, Tool]:
    """All built-in tools, those of installed packages, and those named by import path.

    run_command is there only where commands may run. Raises ValueError, saying what is wrong, for a tool that can't
    be had: a swarm that lacks a tool it was promised does the wrong thing for days.
    """
    from worker.tools import command, files, hashes, invitation, output, page, person, spreadsheet
    from worker.tools import search as searching

    tools = [
        files.list_files,
        files.read_file,
        files.read_files,
        files.search_files,
        files.write_file,
        files.edit_file,
        hashes.check_hashes,
        page.fetch_page,
        spreadsheet.write_spreadsheet,
        invitation.write_invitation,
        person.ask_person,
        output.read_output,
        output.read_digest,
    ]
    if commands:
        tools.append(command.run_command)
    if search:
        tools.append(searching.search_tool(search))
    return {tool.name: tool for tool in [*tools, *registered(more)]}


#: the group of entry points under which packages offer tools
ENTRY_POINTS = "pursuit.tools"


def registered(paths: Sequence[str]) -> list[Tool]:
    """The tools of entry points and of import paths (`package.module:name`). Raises ValueError."""
    points = [(point.value, point.load) for point in metadata.entry_points(group=ENTRY_POINTS)]
    points += [(path, partial(_load, path)) for path in paths]
    found = []
    for path, load in points:
        try:
            found.append(made_tool(load()))
        except (ImportError, AttributeError, TypeError, ValueError, PydanticUserError) as error:
            raise ValueError(f"the tool {path!r} can't be had: {error}") from error
    return found


def _load(path: str) -> Any:
    module, colon, name = path.partition(":")
    if not colon:
        raise ValueError("write it as package.module:name")
    return getattr(importlib.import_module(module), name)


def made_tool(thing: Any) -> Tool:
    """A Tool as it is; a typed function, async or not, as a tool of unknown effect: it is never repeated by itself."""
    if isinstance(thing, Tool):
        return thing
    if not callable(thing):
        raise TypeError("it is neither a tool nor a function")
    parameters = list(inspect.signature(thing, eval_str=True).parameters.values())
    wants_context = bool(parameters) and parameters[0].annotation is ToolContext
    if any(p.annotation is p.empty for p in parameters):
        raise TypeError("each parameter needs a type")

    @wraps(thing)
    async def call(ctx: ToolContext, **arguments: Any) -> Any:
        given = (ctx,) if wants_context else ()
        if inspect.iscoroutinefunction(thing):
            return await thing(*given, **arguments)
        return await asyncio.to_thread(thing, *given, **arguments)

    arguments = _arguments(thing.__name__, parameters[1:] if wants_context else parameters)
    return Tool(thing.__name__, inspect.getdoc(thing) or "", Effect.AT_MOST_ONCE, arguments, call)


def _arguments(name: str, parameters: Sequence[inspect.Parameter]) -> type[BaseModel]:
    fields: dict[str, Any] = {p.name: (p.annotation, ... if p.default is p.empty else p.default) for p in parameters}
    return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
