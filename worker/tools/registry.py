"""What a tool is: a typed function, its schema, its effect; and the box that runs the tools of one job."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from pursuit.models import JobRef
from worker.files.workspace import OutsideWorkspace, Workspace

log = structlog.get_logger(__name__)

#: The most characters of a result that go back to the model; the middle is cut out of a longer one.
MOST = 200_000


class Effect(StrEnum):
    """What happens when a tool is run again after its record was lost."""

    READ = "read"
    REPEATABLE = "repeatable"


class ToolError(Exception):
    """The tool couldn't do it; the words go back to the model."""


class NeedsAnswer(Exception):
    """The tool waits for a person; the job is parked until the answer is there."""

    def __init__(self, question: str, text: str, options: tuple[str, ...]) -> None:
        super().__init__(text)
        self.question, self.text, self.options = question, text, options


@dataclass(frozen=True)
class ToolContext:
    """What a tool may know of the job it works for. `key` is the same whenever this call is repeated."""

    ref: JobRef
    workspace: Workspace
    write_scope: tuple[str, ...]
    answer_to: Callable[[str], Awaitable[str | None]]
    fetch_private: bool = False
    key: str = ""


@dataclass(frozen=True)
class Tool:
    """A typed function as models see it."""

    name: str
    description: str
    effect: Effect
    arguments: type[BaseModel]
    function: Callable[..., Awaitable[Any]]

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The tool as chat completions take it."""
        parameters = self.arguments.model_json_schema()
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
        fields: dict[str, Any] = {
            p.name: (p.annotation, ... if p.default is p.empty else p.default) for p in parameters
        }
        arguments = create_model(function.__name__, __config__=ConfigDict(extra="forbid"), **fields)
        description = inspect.getdoc(function) or ""
        return Tool(function.__name__, description, effect, arguments, function)

    return make


class Toolbox:
    """The tools that one job may use."""

    def __init__(self, tools: dict[str, Tool], context: ToolContext) -> None:
        self._tools = tools
        self._context = context

    def schemas(self) -> list[dict[str, Any]]:
        return [tool.schema for tool in self._tools.values()]

    def effect(self, name: str) -> Effect:
        return self._tools[name].effect if name in self._tools else Effect.READ

    async def run(self, name: str, arguments: str, key: str) -> tuple[bool, str]:
        """Runs one call; returns whether it worked and the text for the model. Only NeedsAnswer is raised."""
        chosen = self._tools.get(name)
        if chosen is None:
            return False, f"there is no tool named {name!r}; there are: {', '.join(sorted(self._tools))}"
        try:
            values = chosen.arguments.model_validate_json(arguments or "{}")
        except ValidationError as error:
            return False, f"the arguments don't fit {name}: {explain(error)}"
        context = ToolContext(**{**self._context.__dict__, "key": key})
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
        return True, cut(text)


def cut(text: str, most: int = MOST) -> str:
    """A long text without its middle: beginnings and ends say the most."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters cut …\n{text[-half:]}"


def explain(error: ValidationError, most: int = 8) -> str:
    """Validation errors in one line a model can act on."""
    lines = [f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']}" for e in error.errors()[:most]]
    more = error.error_count() - len(lines)
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")


def standard_tools(*, commands: bool) -> dict[str, Tool]:
    """All built-in tools; run_command only where the settings allow it."""
    from worker.tools import command, files, hashes, invitation, page, person, spreadsheet

    tools = [
        files.list_files,
        files.read_file,
        files.read_files,
        files.search_files,
        files.write_file,
        hashes.check_hashes,
        page.fetch_page,
        spreadsheet.write_spreadsheet,
        invitation.write_invitation,
        person.ask_person,
    ]
    if commands:
        tools.append(command.run_command)
    return {tool.name: tool for tool in tools}
