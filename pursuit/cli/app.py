"""The commands. Heavy imports happen inside them, so that --help is quick."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="pursuit",
    help="Hand over a goal and walk away: a durable swarm of sub-agents works on it, round after round.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Output = Annotated[str, typer.Option("-o", "--output", help="table, json or jsonl")]
GoalId = Annotated[str, typer.Argument(metavar="GOAL", help="goal id, as `pursuit list` shows it")]
Objective = Annotated[str | None, typer.Argument(help="what is to be achieved; '-' reads it from stdin")]
CriterionText = Annotated[list[str] | None, typer.Option("--criterion", help="must be true at the end; a model judges")]
CheckCommand = Annotated[list[str] | None, typer.Option("--check", help="shell command that must exit with 0")]
Sign = Annotated[list[str] | None, typer.Option("--sign", help="a person must sign this off")]
Constraint = Annotated[list[str] | None, typer.Option("--constraint", help="a rule for all the work")]
InputPath = Annotated[list[str] | None, typer.Option("--input", help="file or folder, read-only; NAME=PATH names it")]
GoalFile = Annotated[Path | None, typer.Option("-f", "--file", help="the goal as YAML or JSON")]
Rounds = Annotated[int | None, typer.Option("--rounds", help="at most this many rounds")]
Steps = Annotated[int | None, typer.Option("--steps", help="at most this many steps in all")]
Usd = Annotated[float | None, typer.Option("--usd", help="at most this many US dollars for all model calls")]
Label = Annotated[list[str] | None, typer.Option("--label", help="KEY=VALUE")]
Reason = Annotated[str, typer.Option("--reason", help="why, for the log")]


@app.command()
def run(
    objective: Objective = None,
    criterion: CriterionText = None,
    check: CheckCommand = None,
    sign: Sign = None,
    constraint: Constraint = None,
    input_: InputPath = None,
    file: GoalFile = None,
    rounds: Rounds = None,
    steps: Steps = None,
    usd: Usd = None,
    label: Label = None,
    model: Annotated[str | None, typer.Option("--model", help="provider:model, for a stack started by this")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="submit, print the id, don't watch")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="folder for the artifacts and the report")] = None,
    output: Output = "table",
) -> None:
    """Submit a goal and watch it. With no server running, starts the local stack for the time of the goal."""
    from pursuit.cli import server
    from pursuit.cli.goalfile import build
    from pursuit.cli.output import say
    from pursuit.cli.watch import DETACHED, watch

    goal = build(objective, criterion, check, input_, file, rounds, steps, usd, label, sign, constraint)
    client, stack = server.connect(), None
    if not server.answers(client):
        if "PURSUIT_URL" in os.environ:
            client.health()
        # the person who types the checks is the one whose machine runs them
        commands = os.environ.get("PURSUIT_COMMANDS", "checks")
        stack = server.LocalStack(model=model, commands=commands)
        client = stack.wait()
        say(stack.banner().strip())
    elif model:
        say("--model is ignored: a server is running already, with a model of its own")
    shown = client.submit(goal)
    identity = shown["id"]
    say(f"goal {identity}")
    _warn(shown)
    if detach:
        print(identity)
        return
    try:
        code = watch(client, identity, output=output)
    except KeyboardInterrupt:
        say(f"\nDetached; the goal goes on. Come back with: pursuit watch {identity}")
        raise typer.Exit(DETACHED) from None
    _after_run(client, identity, out, output)
    if stack and not stack.end():
        say("Other goals are active; the local stack goes on until they are done.")
    raise typer.Exit(code)


def _warn(shown: dict[str, Any]) -> None:
    from pursuit.cli.output import say

    for text in shown["warnings"]:
        say(f"note: {text}")


def _after_run(client: Any, goal: str, out: Path | None, output: str) -> None:
    """Says where the files are, and copies them where that is asked."""
    from pursuit.cli.output import say
    from pursuit.cli.server import local_files

    artifacts = client.artifacts(goal)
    if out:
        for artifact in artifacts:
            client.download(goal, artifact["path"], out / artifact["path"])
        (out / "report.md").write_text(client.report_text(goal))
    folder = out or local_files(goal, client.goal(goal)["state"])
    if output == "table" and artifacts:
        for artifact in [a for a in artifacts if "/" not in a["path"]] or artifacts[:10]:
            print(folder / artifact["path"] if folder else artifact["path"])
        say(f"{len(artifacts)} artifacts" + (f" in {folder}" if folder else "; see `pursuit artifacts`"))


@app.command()
def up(
    workers: Annotated[int | None, typer.Option("--workers", help="worker processes for sub-agents")] = None,
    port: Annotated[int | None, typer.Option("--port", help="of the API")] = None,
    data: Annotated[str | None, typer.Option("--data", help="folder for Redis, workspaces and blobs")] = None,
    model: Annotated[str | None, typer.Option("--model", help="provider:model")] = None,
    commands: Annotated[
        str | None, typer.Option("--commands", help="off, checks (people's command checks) or all (sub-agents too)")
    ] = None,
    no_flower: Annotated[bool, typer.Option("--no-flower", help="without Flower")] = False,
) -> None:
    """The whole local stack in one process tree: Redis, workers, API, Flower. Ctrl-C drains and stops."""
    flags = {"--workers": workers, "--port": port, "--data": data, "--model": model, "--commands": commands}
    _become("up", flags, ["--no-flower"] if no_flower else [])


@app.command()
def submit(
    objective: Objective = None,
    criterion: CriterionText = None,
    check: CheckCommand = None,
    sign: Sign = None,
    constraint: Constraint = None,
    input_: InputPath = None,
    file: GoalFile = None,
    rounds: Rounds = None,
    steps: Steps = None,
    usd: Usd = None,
    label: Label = None,
    key: Annotated[str | None, typer.Option("--key", help="idempotency key: the same key, the same goal")] = None,
    output: Output = "table",
) -> None:
    """Submit a goal to a running server and print its id."""
    from pursuit.cli.goalfile import build
    from pursuit.cli.output import show
    from pursuit.cli.server import connect

    shown = connect().submit(
        build(objective, criterion, check, input_, file, rounds, steps, usd, label, sign, constraint), key=key
    )
    _warn(shown)
    if not show(shown, output):
        print(shown["id"])


@app.command()
def watch(
    goal: GoalId,
    timeout: Annotated[float | None, typer.Option("--timeout", help="seconds; exit code 124 when they are up")] = None,
    output: Output = "table",
) -> None:
    """Follow a goal to its end. Exit codes: 0 completed, 3 blocked, 5 cancelled, 6 paused, 130 detached."""
    from pursuit.cli.output import say
    from pursuit.cli.server import connect
    from pursuit.cli.watch import DETACHED
    from pursuit.cli.watch import watch as follow

    try:
        raise typer.Exit(follow(connect(), goal, output=output, timeout=timeout))
    except KeyboardInterrupt:
        say(f"\nDetached; the goal goes on. Come back with: pursuit watch {goal}")
        raise typer.Exit(DETACHED) from None


@app.command("list")
def list_goals(
    status: Annotated[list[str] | None, typer.Option("--status", help="only these; may be repeated")] = None,
    label: Annotated[str | None, typer.Option("--label", help="KEY=VALUE")] = None,
    q: Annotated[str | None, typer.Option("--query", "-q", help="words of the objective")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="next page")] = None,
    output: Output = "table",
) -> None:
    """Goals, newest first."""
    from pursuit.cli.output import say, show, table
    from pursuit.cli.server import connect

    page = connect().goals(status=status, label=label, q=q, limit=limit, cursor=cursor)
    if show(page, output):
        return
    columns = ["goal", "status", "round", "steps", "objective"]
    rows = [[g["id"], g["status"], g["round"], g["usage"]["steps"], g["objective"][:200]] for g in page["items"]]
    table(columns, rows)
    if page["next_cursor"]:
        say(f"more: --cursor {page['next_cursor']}")


@app.command()
def show(goal: GoalId, output: Output = "table") -> None:
    """A goal as it stands: status, what happens now, criteria, budget."""
    from pursuit.cli import output as out
    from pursuit.cli.server import connect

    shown = connect().goal(goal)
    if out.show(shown, output):
        return
    budget, usage = shown["budget"], shown["usage"]
    print(f"{shown['id']}  {shown['status']}" + (f" ({shown['reason']})" if shown["reason"] else ""))
    print(shown["objective"])
    print(shown["now"])
    for criterion in shown["criteria"]:
        mark = "x" if criterion["status"] == "met" and criterion["fresh"] else " "
        stale = "" if criterion["fresh"] or criterion["status"] == "not_verified" else ", stale"
        found = f"{criterion['check']['kind']}: {criterion['status']}{stale}"
        print(f"  [{mark}] {criterion['id']} {criterion['text']}  ({found})")
    for warning in shown["warnings"]:
        print(f"  note: {warning}")
    print(f"rounds {usage['rounds']} of {budget['rounds']}, steps {usage['steps']} of {budget['steps']}, ", end="")
    print(f"tokens {usage['tokens_in']} in {usage['tokens_out']} out, ", end="")
    print(f"${usage['usd']:.4f}, {usage['seconds']:.0f} s running")
    print(f"model {shown['model']}; you may: {', '.join(shown['commands']) or 'nothing, it is final'}")


@app.command()
def rounds(goal: GoalId, output: Output = "table") -> None:
    """A goal's rounds: approach, subtasks, what was met, what was decided."""
    from pursuit.cli.output import show as shown
    from pursuit.cli.output import table
    from pursuit.cli.server import connect

    page = connect().rounds(goal)
    if shown(page, output):
        return
    rows = []
    for r in page["items"]:
        met = [f for f in (r["verdict"] or {}).get("findings", ()) if f["status"] == "met"]
        total = len((r["verdict"] or {}).get("findings", ()))
        ended = ", ".join(f"{n} {state}" for state, n in r["subtasks"].items())
        decision = (r["decision"] or {}).get("kind", "")
        rows.append([r["number"], ended, f"{len(met)}/{total}", decision, (r["plan"] or {}).get("approach", "")])
    table(["round", "subtasks", "met", "decision", "approach"], rows)


@app.command()
def subtasks(
    goal: GoalId,
    state: Annotated[list[str] | None, typer.Option("--state", help="queued, leased, parked, done, failed ...")] = None,
    round_: Annotated[int | None, typer.Option("--round", help="only this round")] = None,
    output: Output = "table",
) -> None:
    """A goal's sub-agents: state, steps, what they answered."""
    from pursuit.cli.output import show as shown
    from pursuit.cli.output import table
    from pursuit.cli.server import connect

    client, cursor = connect(), None
    items: list[dict[str, Any]] = []
    while True:
        page = client.subtasks(goal, state=state, round=round_, cursor=cursor, limit=500)
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    if shown({"items": items}, output):
        return
    rows = [[s["id"], s["outcome"] or s["state"], s["steps"], s["title"], s["answer"] or s["note"]] for s in items]
    table(["subtask", "outcome", "steps", "title", "answer"], rows)


@app.command()
def log(
    goal: GoalId,
    subtask: Annotated[str | None, typer.Argument(help="a sub-agent's transcript instead, such as r2-017")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="go on until the goal's end")] = False,
    output: Output = "table",
) -> None:
    """A goal's events, or the steps of one sub-agent."""
    from pursuit.cli.log import print_events, print_steps
    from pursuit.cli.server import connect

    if subtask:
        print_steps(connect(), goal, subtask, output)
    else:
        print_events(connect(), goal, follow=follow, output=output)


@app.command()
def report(goal: GoalId, output: Output = "table") -> None:
    """The report as Markdown: criteria with evidence, subtasks, what wasn't done, what it took."""
    from pursuit.cli.output import show as shown
    from pursuit.cli.server import connect

    client = connect()
    if output == "table":
        print(client.report_text(goal))
    else:
        shown(client.report(goal), output)


@app.command()
def artifacts(
    goal: GoalId,
    get: Annotated[Path | None, typer.Option("--get", help="download them into this folder")] = None,
    output: Output = "table",
) -> None:
    """The files a goal has made; --get saves them."""
    from pursuit.cli.output import say, table
    from pursuit.cli.output import show as shown
    from pursuit.cli.server import connect

    client = connect()
    items = client.artifacts(goal)
    for item in items if get else ():
        client.download(goal, item["path"], Path(str(get)) / item["path"])
    if get:
        say(f"{len(items)} artifacts saved in {get}")
    if shown({"items": items}, output):
        return
    table(["path", "size", "by", "sha256"], [[a["path"], a["size"], a["subtask"], a["sha256"][:12]] for a in items])


@app.command()
def pause(
    goal: GoalId,
    reason: Reason = "",
    after_round: Annotated[bool, typer.Option("--after-round", help="let this round come to its end")] = False,
) -> None:
    """Pause a goal: each sub-agent stops after its current step."""
    from pursuit.cli.server import connect

    told(connect().pause(goal, mode="after_round" if after_round else "now", reason=reason))


@app.command()
def resume(
    goal: GoalId,
    reason: Reason = "",
    rounds: Annotated[int, typer.Option("--rounds", min=0, help="this many rounds more")] = 0,
    steps: Annotated[int, typer.Option("--steps", min=0, help="this many steps more")] = 0,
    tokens: Annotated[int, typer.Option("--tokens", min=0, help="this many tokens more")] = 0,
    usd: Annotated[float, typer.Option("--usd", min=0, help="this many US dollars more")] = 0,
) -> None:
    """Take up a paused, blocked or waiting goal, if need be with a larger budget."""
    from pursuit.cli.server import connect

    more: dict[str, float] = {"rounds": rounds, "steps": steps, "tokens": tokens, "usd": usd}
    told(connect().resume(goal, reason=reason, add_budget={k: v for k, v in more.items() if v}))


@app.command()
def cancel(goal: GoalId, reason: Reason = "") -> None:
    """End a goal for good. Its files and report stay."""
    from pursuit.cli.server import connect

    told(connect().cancel(goal, reason=reason))


@app.command()
def guide(
    goal: GoalId,
    text: Annotated[str, typer.Argument(help="what you want the swarm to know")],
    subtask: Annotated[str, typer.Option("--subtask", help="only for this sub-agent, such as r1-007")] = "",
) -> None:
    """Say something to a goal: its next plan and all running sub-agents hear it."""
    from pursuit.cli.server import connect

    told(connect().guide(goal, text, subtask=subtask))


def told(command: dict[str, Any]) -> None:
    """Says what a command came to."""
    print(f"{command['id']} is {command['status']}" + ("" if command["changed"] else " already"))


@app.command()
def inbox(output: Output = "table") -> None:
    """Open questions of all goals."""
    from pursuit.cli.output import show as shown
    from pursuit.cli.output import table
    from pursuit.cli.server import connect

    items = connect().inbox()
    if not shown({"items": items}, output):
        table(
            ["question", "asked by", "text", "options"], [[q["id"], q["job"], q["text"], q["options"]] for q in items]
        )


@app.command()
def answer(
    question: Annotated[str, typer.Argument(help="question id, as `pursuit inbox` shows it")], text: str
) -> None:
    """Answer a question; the first answer stands."""
    from pursuit.cli.server import connect

    print(f"{connect().answer(question, text)['id']} answered")


@app.command()
def doctor(
    goal: Annotated[
        str | None, typer.Option("--goal", help="hold this goal, or `all`, against the invariants instead")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="with --goal: put right what is safe to")] = False,
    output: Output = "table",
) -> None:
    """One line a check, with its cure. Exit code 1 if something can't work or doesn't hold."""
    _become("doctor", {"--output": output, "--goal": goal}, ["--repair"] if repair else [])


@app.command()
def config(output: Output = "table") -> None:
    """The settings in force and where each came from; secrets are masked."""
    _become("config", {"--output": output})


@app.command()
def worker(
    queues: Annotated[str, typer.Option("--queues", help="subtasks, rounds, or both")] = "subtasks,rounds",
    name: Annotated[str | None, typer.Option("--name", help="unique on this machine")] = None,
    concurrency: Annotated[int | None, typer.Option("--concurrency", help="jobs at the same time")] = None,
) -> None:
    """One worker process, for systemd, Compose and Kubernetes. Uses PURSUIT_REDIS_URL."""
    _become("worker", {"--queues": queues, "--name": name, "--concurrency": concurrency})


@app.command()
def api(
    host: Annotated[str | None, typer.Option("--host", help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option("--port", help="port to listen on")] = None,
) -> None:
    """The HTTP API alone. Uses PURSUIT_REDIS_URL."""
    _become("api", {"--host": host, "--port": port})


@app.command()
def flower(
    address: Annotated[str, typer.Option("--address", help="set FLOWER_BASIC_AUTH before opening it up")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option("--port", help="port to listen on")] = None,
) -> None:
    """Flower alone, to look into workers and queues. Uses PURSUIT_REDIS_URL."""
    _become("flower", {"--address": address, "--port": port})


@app.command()
def version() -> None:
    """The version."""
    from pursuit import __version__

    print(__version__)


def _become(part: str, flags: dict[str, Any], switches: list[str] | None = None) -> None:
    """Becomes a part of the stack: the same process, so that signals and exit codes are its own."""
    given = [word for name, value in flags.items() if value is not None for word in (name, str(value))]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "stack", part, *given, *(switches or [])])  # noqa: S606
