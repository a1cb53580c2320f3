"""The policy for any goal that isn't the audit: look at what is given, write down what is there, sum it up."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from worker.llm.policies.steps import Result, Step, call, digest, read_all

Talk = Generator[list[Step], list[Result], None]
NOTE = "Written by Pursuit's rehearsal model: a fixed policy that counts and copies, no language model."
REPORT = "report.md"


def plan(goal: dict[str, Any]) -> Talk:
    """Round 1: one sub-agent an item (a line of an items*.txt input, else an input file). Then the report."""
    (there,) = yield [call("list_files", pattern="notes/*.md")]
    objective = goal["contract"]["objective"]
    if there.data.get("total", 0) == 0:
        items = yield from _items(goal)
        template = {
            "title": "note on {item}",
            "objective": "Look at {item} with regard to the goal and write down what is there.",
            "tools": ["list_files", "read_file", "write_file"],
            "write_scope": ["notes/{item}"],
            "expected": "what was found, in one sentence",
        }
        subtasks = [_note(template, number, item) for number, item in enumerate(items, 1)]
        yield [call("submit_plan", approach="one note an item, all in parallel", subtasks=subtasks)]
        return
    brief = {
        "title": "report",
        "objective": f"Write {REPORT} from all notes, for this objective: {objective[:3000]}",
        "write_scope": [REPORT],
        "expected": "how many notes the report rests on",
    }
    yield [call("submit_plan", approach="sum up the notes in a report", subtasks=[brief])]


def _items(goal: dict[str, Any]) -> Generator[list[Step], list[Result], list[str]]:
    most = int(goal["left"]["subagents_in_a_round"])
    patterns = ["inputs/*"] + [f"{name}/**/*" for name in goal["inputs"]]
    results = yield [call("list_files", pattern=pattern) for pattern in patterns]
    paths = sorted({row["path"] for result in results for row in result.data.get("files", ())})
    for path in paths:
        name = path.rpartition("/")[2]
        if name.startswith("items") and name.endswith(".txt"):
            (text,) = yield [call("read_file", path=path)]
            return [line.strip() for line in text.data["text"].splitlines() if line.strip()][:most]
    return paths[:most] or ["the objective"]


def _note(template: dict[str, Any], number: int, item: str) -> dict[str, Any]:
    filled = {
        key: value.replace("{item}", item) if isinstance(value, str) else value for key, value in template.items()
    }
    return {**filled, "title": filled["title"][:120], "write_scope": [f"notes/{number:03d}.md"], "item": item}


def work(brief: dict[str, Any]) -> Talk:
    """A note on one item, or the report over all notes."""
    scope = brief["brief"]["write_scope"]
    if scope == [REPORT]:
        yield from _report(brief)
        return
    item, path = brief["brief"]["item"], scope[0] if scope else "note.md"
    found = f"Item: {item}"
    if item.startswith("inputs/"):
        (text,) = yield [call("read_file", path=item, limit=20_000)]
        lines = text.data.get("text", "").splitlines() if text.ok else []
        found = (
            f"{item}: {len(lines)} lines, {sum(len(line.split()) for line in lines)} words" if text.ok else text.text
        )
    (written,) = yield [call("write_file", path=path, content=f"# {item}\n\n{found}\n\n{NOTE}\n")]
    if not written.ok:
        yield digest(written.text, outcome="failed", gaps=[f"no note on {item}"[:1900]])
        return
    yield digest(found[:1500], artifacts=[path])


def _report(brief: dict[str, Any]) -> Talk:
    notes = yield from read_all("notes/*.md")
    lines = [f"# Report\n\n{brief['goal']['objective']}\n\n{NOTE}\n"]
    lines += [
        f"- {text.splitlines()[2] if len(text.splitlines()) > 2 else path}" for path, text in sorted(notes.items())
    ]
    yield [call("write_file", path=REPORT, content="\n".join(lines) + f"\n\nNotes: {len(notes)}\n")]
    yield digest(f"the report rests on {len(notes)} notes", artifacts=[REPORT])


def judge(verification: dict[str, Any]) -> Talk:
    """It can't understand a criterion; it finds `met` what a report over all notes is there for."""
    report, notes = yield [
        call("read_file", path=REPORT),
        call("list_files", pattern="notes/*.md"),
    ]
    wanted = f"Notes: {notes.data.get('total', 0)}\n"
    good = report.ok and notes.data.get("total", 0) > 0 and report.data["text"].endswith(wanted)
    why = (
        f"rehearsal: {REPORT} is there over all notes; whether it is any good only a real model or a person can tell"
        if good
        else f"rehearsal: there is no {REPORT} over all notes yet"
    )
    findings = [
        {
            "criterion": name,
            "status": "met" if good else "not_met",
            "why": why,
            "next_proof": f"{REPORT} over all notes",
            "seen": [REPORT],
        }
        for name in verification["asked"]
    ]
    yield [call("submit_verdict", findings=findings)]
