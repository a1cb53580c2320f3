"""The nouns of the design as frozen models. What crosses a boundary is one of these, never a dict."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, StringConstraints

from pursuit.contract import (
    MAX_OBJECTIVE,
    Contract,
    Criterion,
    Frozen,
    Label,
    Lenient,
    Line,
    RelativePath,
    Text,
    Wait,
)
from pursuit.state import Actor, JobKind, JobState, Phase, Reason, Status, Wish

MAX_SUBAGENTS = 300
MAX_STEPS = 4000
MAX_ANSWER = 6_000

# --- what a person submits ----------------------------------------------------------------------


class Input(Frozen):
    """A file or folder of the worker's machine, seen read-only as `inputs/<name>` in the workspace.

    With `edit` a copy of it is worked on as `<name>/` instead; a git repository gets what became of it as a branch.
    """

    path: str = Field(min_length=1, max_length=1_000)
    name: Label | None = None
    edit: bool = Field(False, description="work on a copy of it, at <name>/; of a git repository: on its HEAD")


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
    panel: tuple[Annotated[str, StringConstraints(max_length=200)], ...] = Field(
        (),
        max_length=7,
        description="so many judges, each by this model or ''; a majority must find it met",
    )
    fallback: str = Field("", max_length=200, description="plans and works after two rounds without progress")


class Policy(Frozen):
    """What a goal's sub-agents may do. It can only narrow what the server allows, and choose among what it offers."""

    tools: dict[Label, Literal["allow", "ask", "deny"]] = Field(default_factory=dict, max_length=100)
    network_allow: list[Annotated[str, StringConstraints(pattern=r"^[a-z0-9.*-]{1,253}$")]] = Field(
        default_factory=list,
        max_length=100,
        description="hosts that may be reached; empty: all public ones, but not by commands",
    )
    mcp: list[Label] = Field(default_factory=list, max_length=20, description="MCP servers of the server's, by name")
    polling: list[Label] = Field(
        default_factory=list, max_length=20, description="tools that may be called again and again with the same result"
    )


class Stragglers(Frozen):
    """When a round no longer waits for its last sub-agents. Without a quorum below 1 it waits for all."""

    quorum: float = Field(1.0, gt=0, le=1, description="share of the subtasks that must have ended")
    factor: float = Field(2.0, ge=0.1, le=100, description="of the time that 95 % of the ended ones took: what is left")
    least_seconds: int = Field(60, ge=1, le=86_400, description="but at least so long after the quorum")
    then: Literal["cut", "hedge"] = Field(
        "cut", description="hedge: at half-time a twin starts with the same brief, and the first digest counts"
    )


class Submission(Frozen):
    """A goal as a person hands it in; only the objective is required."""

    objective: Text = Field(max_length=MAX_OBJECTIVE)
    criteria: list[Criterion] = Field(default_factory=list, max_length=50)
    constraints: list[Line] = Field(default_factory=list, max_length=50)
    boundaries: list[RelativePath] = Field(
        default_factory=list, max_length=50, description="paths in the workspace that no sub-agent may write"
    )
    inputs: Annotated[list[Input], AfterValidator(_distinct)] = Field(default_factory=list, max_length=50)
    budget: Budget = Budget()
    models: Models = Models()
    policy: Policy = Policy()
    labels: dict[Label, Annotated[str, StringConstraints(max_length=200)]] = Field(default_factory=dict, max_length=20)
    stragglers: Stragglers = Stragglers()
    start_at: AwareDatetime | None = Field(None, description="don't begin before this time")
    after_goal: str = Field("", pattern=r"^(goal_[0-9A-Z]{26})?$", description="don't begin before that goal's end")
    wait_for: Wait | None = Field(None, description="don't begin before this has come about")


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
    open_items: bool = Field(False, description="the template is for each item of the goal that is still open")
    criteria: tuple[Criterion, ...] = Field(
        (), max_length=20, description="round 1 only: a draft, where the contract's author is `engine`"
    )
    wait: Wait | None = Field(None, description="instead of subtasks: what has to come about before going on")
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
    status: Literal["met", "not_met", "cannot_tell", "waiting", "blocked", "impossible"]
    why: str = Field("", max_length=4_000)
    next_proof: str = Field("", max_length=1_000, description="the cheapest thing that would show it")
    seen: tuple[str, ...] = Field(
        (), max_length=50, description="what was looked at: paths that were read, ids of criteria with evidence"
    )
    blocker: Blocker | None = Field(None, description="with status `blocked`")
    wait: Wait | None = Field(None, description="with status `waiting`")
    #: those judges of a panel that found otherwise, and what
    dissent: tuple[str, ...] = ()
    #: the contract's revision and the state of the files that it was found for
    revision: int = 0
    state: str = ""

    def fresh(self, revision: int, state: str) -> bool:
        """Whether it still says something: neither contract nor files have changed since."""
        return self.revision in (0, revision) and self.state in ("", state)


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
    #: `broken`: the check couldn't be carried out as it is written; `unavailable`: nor any like it on this worker
    trouble: Literal["", "broken", "unavailable"] = ""
    #: hash of what it rests on: the check, and the files it could see
    inputs: str = ""


class Verdict(Frozen):
    """The verification's finding, criterion by criterion, with the evidence it rests on."""

    revision: int
    findings: tuple[Finding, ...]
    evidence: tuple[Evidence, ...] = ()
    blocker: Blocker | None = None
    #: changes that were not taken because others had changed the same file, or that nobody may make
    conflicts: tuple[str, ...] = ()
    #: fingerprint of the files it was found for, and the blob that lists them
    state: str = ""
    tree: str = ""

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
    #: all criteria that were met in any round, and the states of files that there were: coming back is no progress
    ever: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    closed: int = 0


class Items(Frozen):
    """The goal's list of items: it only ever shrinks by work that landed."""

    total: int = 0
    closed: int = 0


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
    #: of the last verification, each output cut short
    evidence: tuple[Evidence, ...] = ()
    #: fingerprint of the committed files at the last verification
    state: str = ""
    #: the blob that lists the files the goal began with: copies of inputs, or what it was forked from
    base: str = ""
    #: the blob that lists the copies of its inputs as they were: what is expected is taken from there
    imported: str = ""
    #: by input, the commit of a git repository that its copy was taken from
    commits: dict[str, str] = Field(default_factory=dict)
    wait: Wait | None = None
    wait_since: datetime | None = None
    #: waits one after the other, without a round in between
    waits: int = 0
    items: Items = Items()
    stragglers: Stragglers = Stragglers()
    #: the goal and round that this one was forked from, or which goal's answers it replays
    parent: dict[str, Any] = Field(default_factory=dict)
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

    kind: Literal["question", "approval", "sign_off"] = "question"

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
    """A file by content, with the round and subtask that made it. Without content: the file was deleted."""

    path: RelativePath
    sha256: str
    size: int
    round: int
    subtask: str
    at: datetime | None = None
    executable: bool = False
    #: in a layer: the content that was there before, '' for none
    was: str = ""
    #: not yet merged: its round hasn't been verified
    pending: bool = False


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
    #: the contract's revision that these words announce; 0 for guidance
    amended: int = 0


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
