"""The nouns of the design as frozen models. What crosses a boundary is one of these, never a dict."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from pursuit.state import Actor, JobKind, JobState, Phase, Reason, Status, Wish

SCHEMA_VERSION = 1
MAX_SUBAGENTS = 300
MAX_STEPS = 4000
MAX_OBJECTIVE = 20_000
MAX_ANSWER = 6_000

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]{1,63}$")]


def _relative(path: str) -> str:
    parts = path.replace("\\", "/").split("/")
    if path.startswith("/") or ".." in parts:
        raise ValueError("must be a path inside the workspace, without '..'")
    return "/".join(part for part in parts if part not in ("", "."))


def _expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"must be a regular expression: {error}") from error
    return pattern


RelativePath = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_relative)]


class Frozen(BaseModel):
    """A value: it doesn't change, and knows all its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Lenient(Frozen):
    """A value written by a model: fields that nobody asked for are dropped, not refused."""

    model_config = ConfigDict(frozen=True, extra="ignore")


# --- what a person submits ----------------------------------------------------------------------


class CommandCheck(Frozen):
    """Passes when the command, run in the goal's workspace by /bin/sh, exits with 0."""

    kind: Literal["command"] = "command"
    command: Text = Field(max_length=4_000)
    timeout_seconds: int = Field(120, ge=1, le=3_600)


class FileCheck(Frozen):
    """Passes when the file exists in the workspace and, if asked, its text matches a regular expression."""

    kind: Literal["file"] = "file"
    path: RelativePath
    pattern: Annotated[str, StringConstraints(max_length=1_000), AfterValidator(_expression)] | None = None


class JudgeCheck(Frozen):
    """A model judges from contract, artifacts and evidence."""

    kind: Literal["judge"] = "judge"


Check = Annotated[CommandCheck | FileCheck | JudgeCheck, Field(discriminator="kind")]


class Criterion(Frozen):
    """One thing that must be true at the end, with the check that shows it."""

    text: Line
    check: Check = JudgeCheck()


class Input(Frozen):
    """A file or folder of the worker's machine, seen read-only as `inputs/<name>` in the workspace."""

    path: str = Field(min_length=1, max_length=1_000)
    name: Label | None = None


def input_name(item: Input) -> str:
    """What the input is called below `inputs/`: as given, else the last part of its path."""
    return item.name or item.path.rstrip("/").rpartition("/")[2] or "input"


def _distinct(inputs: list[Input]) -> list[Input]:
    names = [input_name(item) for item in inputs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two inputs would be called {twice[0]!r}; give one of them a `name`")
    return inputs


class Budget(Frozen):
    """The most that a goal may use. A goal that has used it up is blocked and can be given more."""

    rounds: int = Field(20, ge=1, le=1_000)
    steps: int = Field(MAX_STEPS, ge=1, le=100_000)
    subagents: int = Field(MAX_SUBAGENTS, ge=1, le=MAX_SUBAGENTS, description="in one round")
    tokens: int | None = Field(None, ge=1, description="in and out, all models")
    usd: float | None = Field(None, gt=0, le=1_000_000, description="what all model calls together may cost")
    wall_seconds: int | None = Field(None, ge=1, description="since the goal first ran")


class AddBudget(Frozen):
    """What a person adds to a goal's budget when resuming it."""

    rounds: int = Field(0, ge=0, le=1_000)
    steps: int = Field(0, ge=0, le=100_000)
    tokens: int = Field(0, ge=0)
    usd: float = Field(0, ge=0, le=1_000_000)
    wall_seconds: int = Field(0, ge=0)


class Models(Frozen):
    """The models of a goal by role: a profile of the server's, or provider:model; empty: the server's choice."""

    planner: str = Field("", max_length=200)
    subagent: str = Field("", max_length=200)
    verifier: str = Field("", max_length=200)


class Policy(Frozen):
    """What a goal's sub-agents may do. It can only narrow what the server allows, and choose among what it offers."""

    tools: dict[Label, Literal["allow", "ask", "deny"]] = Field(default_factory=dict, max_length=100)
    network_allow: list[Annotated[str, StringConstraints(pattern=r"^[a-z0-9.*-]{1,253}$")]] = Field(
        default_factory=list,
        max_length=100,
        description="hosts that may be reached; empty: all public ones, but not by commands",
    )
    mcp: list[Label] = Field(default_factory=list, max_length=20, description="MCP servers of the server's, by name")


class Submission(Frozen):
    """A goal as a person hands it in; only the objective is required."""

    objective: Text = Field(max_length=MAX_OBJECTIVE)
    criteria: list[Criterion] = Field(default_factory=list, max_length=50)
    constraints: list[Line] = Field(default_factory=list, max_length=50)
    inputs: Annotated[list[Input], AfterValidator(_distinct)] = Field(default_factory=list, max_length=50)
    budget: Budget = Budget()
    models: Models = Models()
    policy: Policy = Policy()
    labels: dict[Label, Annotated[str, StringConstraints(max_length=200)]] = Field(default_factory=dict, max_length=20)
    start_at: AwareDatetime | None = Field(None, description="don't begin before this time")


class Contract(Frozen):
    """Objective, criteria and constraints in a numbered revision; the first objective never changes."""

    revision: int
    objective: str
    criteria: tuple[Criterion, ...]
    constraints: tuple[str, ...]

    def criterion_ids(self) -> list[str]:
        return [f"c{number}" for number in range(1, len(self.criteria) + 1)]


# --- what models answer -------------------------------------------------------------------------


class Blocker(Lenient):
    """Why somebody can't go on, by type, so that the engine can count repetitions."""

    reason: Literal["question", "budget", "impossible", "configuration", "stalled"] = "configuration"
    text: Line


class Brief(Lenient):
    """What one sub-agent is to do."""

    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]
    objective: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000)]
    inputs: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    write_scope: tuple[RelativePath, ...] = ()
    expected: str = Field("", max_length=2_000)
    stop_rule: str = Field("", max_length=1_000)
    steps: int = Field(30, ge=1, le=400)
    seconds: int | None = Field(None, ge=10, le=86_400, description="of work, until it is asked to come to an end")
    item: str = Field("", max_length=2_000)


class Plan(Lenient):
    """A round's proposal: subtasks, or one template with items, or why there can't be any."""

    approach: str = Field("", max_length=4_000)
    subtasks: tuple[Brief, ...] = ()
    template: Brief | None = None
    items: tuple[str, ...] = ()
    blocker: Blocker | None = None


class Digest(Lenient):
    """A subtask's bounded report. It is all that planner and verifier see of a sub-agent."""

    outcome: Literal["done", "partial", "failed"]
    answer: str = Field(max_length=MAX_ANSWER)
    evidence: tuple[Line, ...] = Field((), max_length=50)
    artifacts: tuple[RelativePath, ...] = Field((), max_length=200)
    gaps: tuple[Line, ...] = Field((), max_length=50)
    blocker: Blocker | None = None


class Finding(Lenient):
    """The verdict on one criterion. Unknown is not met."""

    criterion: str
    status: Literal["met", "not_met", "cannot_tell", "blocked", "impossible"]
    why: str = Field("", max_length=4_000)
    next_proof: str = Field("", max_length=1_000)


class Judgement(Lenient):
    """What the judge answers: findings for the criteria it was asked about."""

    findings: tuple[Finding, ...]


class Evidence(Frozen):
    """A recorded outcome of an executed check."""

    criterion: str
    kind: str
    passed: bool
    output: str
    seconds: float
    revision: int
    at: datetime


class Verdict(Frozen):
    """The verification's finding, criterion by criterion, with the evidence it rests on."""

    revision: int
    findings: tuple[Finding, ...]
    evidence: tuple[Evidence, ...] = ()
    blocker: Blocker | None = None

    @property
    def met(self) -> tuple[str, ...]:
        return tuple(f.criterion for f in self.findings if f.status == "met")

    @property
    def all_met(self) -> bool:
        return bool(self.findings) and len(self.met) == len(self.findings)


# --- what the engine keeps ----------------------------------------------------------------------


class JobRef(Frozen):
    """A job of a goal. All that a Celery message carries."""

    goal: str
    job: str

    @classmethod
    def of(cls, goal: str, round_number: int, name: str) -> JobRef:
        return cls(goal=goal, job=f"r{round_number}-{name}")

    @property
    def round(self) -> int:
        return int(self.job.partition("-")[0][1:])

    @property
    def name(self) -> str:
        return self.job.partition("-")[2]

    @property
    def kind(self) -> JobKind:
        return JobKind(self.name) if self.name in ("plan", "verify") else JobKind.SUBTASK


class Job(Frozen):
    """A job's record in the store."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    kind: JobKind
    state: JobState
    attempt: int = 0
    dispatches: int = 0
    owner: str = ""
    lease: int = 0
    question: str = ""
    started: int = 0
    ended: int = 0
    steps: int = 0
    tokens: int = 0
    micros: int = 0
    #: until when the provider takes no call of it, in ms, and why
    limited: int = 0
    limit: str = ""
    note: str = ""


class Usage(Frozen):
    """What has been used so far; each model call counts once, whatever is repeated."""

    rounds: int = 0
    steps: int = 0
    subagents: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = Field(0, description="of those in, read from the provider's cache")
    usd: float = 0.0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


class Streak(Frozen):
    """What the engine counts across rounds, so that no loop runs away."""

    met: tuple[str, ...] = ()
    artifacts: str = ""
    paths: str = ""
    quiet: int = 0
    barren: int = 0
    blocker: str = ""
    same_blocker: int = 0


class Tally(Frozen):
    """How many subtasks of a round are in each state."""

    total: int = 0
    open: int = 0
    running: int = 0
    parked: int = 0


class Goal(Frozen):
    """A goal as it stands in the store."""

    id: str
    version: int
    status: Status
    reason: Reason | None
    detail: str
    wish: Wish
    epoch: int
    round: int
    phase: Phase
    revision: int
    seq: int
    contract: Contract
    inputs: tuple[Input, ...]
    budget: Budget
    models: Models = Models()
    policy: Policy = Policy()
    usage: Usage
    labels: dict[str, str]
    #: how often Redis was found to be another server process than before
    generation: int = 0
    #: the last round that has been compacted
    compacted: int = 0
    #: when a waiting goal goes on by itself
    wake_at: datetime | None = None
    #: what a model had to say when the budget was used up
    closing: str = ""
    #: the part of the budget of which three quarters are used, or ''
    warned: str = ""
    streak: Streak
    findings: tuple[Finding, ...]
    tally: Tally
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def pausing(self) -> bool:
        return self.status is Status.RUNNING and self.wish in (Wish.PAUSE, Wish.AFTER_ROUND)


class Question(Frozen):
    """A question to a person; the first answer stands."""

    id: str
    goal: str
    job: str
    text: str
    options: tuple[str, ...] = ()
    asked_at: datetime
    answer: str | None = None
    answered_at: datetime | None = None


def question_id(goal: str, name: str) -> str:
    """A question's id; its goal can be told from it."""
    return f"q_{goal.removeprefix('goal_')}_{name}"


def goal_of_question(question: str) -> str:
    """The goal that a question belongs to."""
    return f"goal_{question.removeprefix('q_').partition('_')[0]}"


class Artifact(Frozen):
    """A file that a subtask wrote, by content."""

    path: RelativePath
    sha256: str
    size: int
    round: int
    subtask: str
    at: datetime | None = None


class Event(Frozen):
    """One line of a goal's public log."""

    id: str
    seq: int
    type: str
    at: datetime
    actor: Actor
    data: dict[str, Any]


class Guidance(Frozen):
    """A person's words to a goal, or to one of its sub-agents."""

    text: str
    subtask: str = ""
    at: datetime | None = None


class PlannedRound(Frozen):
    """What the store keeps of a plan once its briefs are jobs."""

    approach: str
    titles: tuple[str, ...]


class RoundRecord(Frozen):
    """A round as it is shown: plan, subtasks by state, verdict, decision."""

    number: int
    plan: PlannedRound | None
    subtasks: dict[str, int]
    verdict: Verdict | None
    decision: dict[str, Any] | None


class RoundSummary(Frozen):
    """What Redis keeps of an old round; jobs, briefs and results lie in the blob."""

    record: RoundRecord
    blob: str


class Entry(Frozen):
    """One journal entry; its position is its index.

    A model's answer, a tool's result, a person's guidance, the start of a tool that mustn't be run twice, a notice of
    the engine, or a summary that stands for the entries before it.
    """

    kind: Literal["answer", "result", "guidance", "start", "notice", "summary"]
    body: dict[str, Any]
