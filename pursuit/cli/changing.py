"""Commands that change what a goal is held to, or begin another one from it: amend, accept, fork, replay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pursuit.cli.app import GoalId, Output, Reason, app, told


@app.command()
def amend(
    goal: GoalId,
    criterion: Annotated[
        list[str] | None, typer.Option("--criterion", help="one more thing that must be true; a model judges")
    ] = None,
    check: Annotated[list[str] | None, typer.Option("--check", help="one more command that must exit with 0")] = None,
    sign: Annotated[list[str] | None, typer.Option("--sign", help="one more thing that a person signs off")] = None,
    drop: Annotated[list[str] | None, typer.Option("--drop", help="criterion to drop, such as c2")] = None,
    constraint: Annotated[list[str] | None, typer.Option("--constraint", help="one more constraint")] = None,
    boundary: Annotated[list[str] | None, typer.Option("--boundary", help="path that nobody may write")] = None,
    note: Annotated[str, typer.Option("--note", help="how the objective is to be read from now on")] = "",
    file: Annotated[Path | None, typer.Option("-f", "--file", help="the change as YAML or JSON")] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", help="limit from now on")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="limit from now on")] = None,
    usd: Annotated[float | None, typer.Option("--usd", help="limit from now on")] = None,
    output: Output = "table",
) -> None:
    """Change the contract of a goal (a new revision) or its limits; running sub-agents hear of it."""
    from pursuit.cli.goalfile import as_criteria, read
    from pursuit.cli.output import show
    from pursuit.cli.server import connect

    client = connect()
    shown = client.goal(goal)
    change: dict[str, Any] = read(file) if file else {}
    added = as_criteria(criterion, check, sign)
    if added or drop:
        kept = [{k: c[k] for k in ("id", "text", "check")} for c in shown["criteria"] if c["id"] not in (drop or ())]
        if shown["criteria_by"] == "engine" and added:
            kept = []  # nobody had written any: the first ones take the place of the engine's own
        change["criteria"] = [*change.get("criteria", kept), *added]
    for name, more in (("constraints", constraint), ("boundaries", boundary)):
        if more:
            change[name] = [*change.get(name, shown[name]), *more]
    if note:
        change["note"] = note
    limits = {"rounds": rounds, "steps": steps, "usd": usd}
    if any(value is not None for value in limits.values()):
        change["budget"] = {k: v for k, v in limits.items() if v is not None}
    amended = client.amend(goal, change, revision=shown["revision"])
    if show(amended, output):
        return
    print(f"{goal} is {amended['status']}, contract revision {amended['contract_revision']}")
    for item in amended["criteria"]:
        print(f"  {item['id']} {item['text']} ({item['check']['kind']})")


@app.command()
def accept(goal: GoalId, reason: Reason = "") -> None:
    """Take a goal as it is: completed, outcome `accepted`, its gaps named in the report."""
    from pursuit.cli.server import connect

    told(connect().accept(goal, reason=reason))


@app.command()
def fork(
    goal: GoalId,
    round_: Annotated[int | None, typer.Option("--round", help="begin with its files; 0: at the start")] = None,
    criterion: Annotated[list[str] | None, typer.Option("--criterion", help="one more criterion")] = None,
    check: Annotated[list[str] | None, typer.Option("--check", help="one more command that must exit with 0")] = None,
    note: Annotated[str, typer.Option("--note", help="what is to be done otherwise")] = "",
    model: Annotated[str, typer.Option("--model", help="another model for all roles")] = "",
    file: Annotated[Path | None, typer.Option("-f", "--file", help="the changes as YAML or JSON")] = None,
    output: Output = "table",
) -> None:
    """A new goal from a round of this one, with changes; prints its id."""
    from pursuit.cli.goalfile import as_criteria, read
    from pursuit.cli.output import show
    from pursuit.cli.server import connect

    client = connect()
    change: dict[str, Any] = read(file) if file else {}
    if added := as_criteria(criterion, check, None):
        kept = [{k: c[k] for k in ("id", "text", "check")} for c in client.goal(goal)["criteria"]]
        change["criteria"] = [*change.get("criteria", kept), *added]
    if round_ is not None:
        change["round"] = round_
    if note:
        change["note"] = note
    if model:
        change["models"] = dict.fromkeys(("planner", "subagent", "verifier"), model)
    forked = client.fork(goal, change)
    if not show(forked, output):
        print(forked["id"])


@app.command()
def replay(
    goal: GoalId,
    timeout: Annotated[float, typer.Option("--timeout", help="seconds to wait for it")] = 600,
    output: Output = "table",
) -> None:
    """Go through a goal's recorded answers again, at no cost. Exit code 1 unless every decision is the same."""
    from pursuit.cli.output import say, table
    from pursuit.cli.output import show as shown
    from pursuit.cli.replays import compare, run
    from pursuit.cli.server import connect

    client = connect()
    again = run(client, goal, timeout)
    rows = compare(client, goal, again)
    same = all(row["same"] for row in rows)
    if not shown({"goal": goal, "replay": again, "same": same, "items": rows}, output):
        table(
            ["round", "recorded", "replayed", "same"],
            [[r["round"], r["recorded"], r["replayed"], "yes" if r["same"] else "NO"] for r in rows],
        )
        say(f"replayed as {again}: " + ("every decision is the same" if same else "it decides otherwise"))
    raise typer.Exit(0 if same else 1)
