"""The swarm as the terminal shows it: a cell a sub-agent, round, criteria, budget, and what happens now.

The picture is drawn from the goal's events alone; the snapshot is read again only when one of them says so.
"""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.text import Text

from pursuit.client import Heard

#: state -> glyph and style; shape and letter differ too, so that nothing hangs on colour alone
CELLS = {
    "queued": ("·", "dim"),
    "running": ("▶", "bold cyan"),
    "waiting": ("?", "bold yellow"),
    "limited": ("◷", "bold yellow"),
    "done": ("■", "green"),
    "partial": ("◪", "yellow"),
    "failed": ("✗", "bold red"),
}
RELOADS = {"goal.status", "round.planned", "round.verified", "goal.amended", "gap", "question.asked"}


class Swarm:
    """Applies events; renders."""

    def __init__(self, goal: dict[str, Any]) -> None:
        self.goal = goal
        self.cells: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self.titles: dict[str, str] = {}
        self.steps = goal["usage"]["steps"]
        self.log: list[str] = []

    def reload(self, goal: dict[str, Any], subtasks: list[dict[str, Any]]) -> None:
        """Takes over a fresh snapshot."""
        self.goal = goal
        self.steps = max(self.steps, goal["usage"]["steps"])
        states = {
            "leased": "running",
            "rate_limited": "limited",
            "parked": "waiting",
            "buried": "failed",
            "cancelled": "failed",
        }
        for item in subtasks:
            state = item["outcome"] or states.get(item["state"], item["state"])
            self.cells[item["id"]] = state
            self.titles[item["id"]] = item["title"]

    def apply(self, event: Heard) -> str | None:
        """Takes over one event; returns a plain line for it where it is worth one."""
        data, sub = event.data, event.data.get("subtask", "")
        match event.type:
            case "round.planned":
                self.cells = {item["id"]: "queued" for item in data["subtasks"]}
                self.titles = {item["id"]: item["title"] for item in data["subtasks"]}
                return f"round {data['round']}: {len(self.cells)} subtasks: {data['approach']}"
            case "subtask.started":
                self.cells[sub] = "running"
                if data.get("attempt", 1) > 1:
                    return f"{sub} goes on in attempt {data['attempt']}"
            case "subtask.step":
                self.steps += 1
                if self.cells.get(sub) == "limited":
                    self.cells[sub] = "running"
                self.notes[sub] = data.get("note", "")
            case "subtask.waiting":
                limited = data.get("why") == "rate limited"
                self.cells[sub] = "limited" if limited else "waiting"
                if limited:
                    self.notes[sub] = f"rate limited ({data['limit']}), {data['seconds']:.0f} s left"
            case "subtask.finished":
                self.cells[sub] = data["outcome"]
                mark = "" if data["outcome"] == "done" else f" {data['outcome']}"
                return f"{sub}{mark}: {data['answer']}"
            case "job.lost":
                if sub in self.cells:
                    self.cells[sub] = "queued"
                return f"{sub} lost its worker; another takes it over"
            case "job.buried":
                return f"{sub} was given up after {data['attempts']} attempts"
            case "round.verified":
                met = f"{len(data['met'])} of {len(data['criteria'])} criteria met"
                return f"round {data['round']} verified: {met}; {_decided(data['decision'])}"
            case "question.asked":
                return f"question {data['question']}: {data['text']}"
            case "question.answered":
                return f"answered: {data['answer']}"
            case "budget.warning":
                return f"budget: {data['used']:.0%} of {data['part'].replace('micros', 'money')} used"
            case "goal.status":
                words = f"{data['from']} -> {data['to']}" if data["from"] != data["to"] else data["to"]
                why = " ".join(part for part in (data.get("reason", ""), data.get("detail", "")) if part)
                return f"goal {words}{': ' + why if why else ''}"
        return None

    def render(self, width: int) -> Group:
        """The picture, no wider than `width`."""
        goal = self.goal
        head = Text()
        head.append(" ".join(goal["objective"].split())[: max(20, width - 2)] + "\n", style="bold")
        head.append(f"{goal['id']}  {goal['status']}", style="cyan")
        head.append(f"  round {goal['round']} of {goal['budget']['rounds']}, {goal['phase']}\n")
        return Group(head, self._grid(width), self._counts(), self._criteria(width), self._foot(width))

    def _grid(self, width: int) -> Text:
        text = Text()
        per_line = max(10, (width - 2) // 2)
        for place, (_, state) in enumerate(sorted(self.cells.items())):
            if place and place % per_line == 0:
                text.append("\n")
            glyph, style = CELLS.get(state, CELLS["queued"])
            text.append(glyph + " ", style=style)
        if not self.cells:
            text.append("no subtasks yet", style="dim")
        return text

    def _counts(self) -> Text:
        text = Text("\n")
        for state, (glyph, style) in CELLS.items():
            number = sum(value == state for value in self.cells.values())
            if number:
                text.append(f"{glyph} {number} {state}   ", style=style)
        return text

    def _criteria(self, width: int) -> Text:
        text = Text("\n")
        for criterion in self.goal["criteria"]:
            met = criterion["status"] == "met"
            text.append("✓ " if met else "○ ", style="green" if met else "dim")
            text.append(f"{criterion['id']} {criterion['text']}"[: max(20, width - 24)])
            text.append(f"  {criterion['status']}\n", style="green" if met else "dim")
        return text

    def _foot(self, width: int) -> Text:
        budget, usage = self.goal["budget"], self.goal["usage"]
        text = Text()
        tokens = usage["tokens_in"] + usage["tokens_out"]
        text.append(f"steps {self.steps} of {budget['steps']}   tokens {tokens}", style="dim")
        text.append(f"   model {self.goal['model']}\n", style="dim")
        text.append(self._now()[: max(20, 2 * width)])
        return text

    def _now(self) -> str:
        """The server's sentence; while the swarm works, the count is the live one, and stragglers are named."""
        if self.goal["status"] != "running" or self.goal["phase"] != "executing" or not self.cells:
            return str(self.goal["now"])
        left = [
            name for name, state in sorted(self.cells.items()) if state in ("queued", "running", "waiting", "limited")
        ]
        done = len(self.cells) - len(left)
        text = f"Round {self.goal['round']}: {done} of {len(self.cells)} subtasks done."
        if 0 < len(left) <= 3:
            text += " Waiting for " + ", ".join(f"{name} {self.titles.get(name, '')}".strip() for name in left) + "."
        elif left:
            busy = next((name for name in left if self.notes.get(name)), None)
            text += f" {busy} {self.titles.get(busy, '')}: {self.notes[busy]}." if busy else ""
        return text


def _decided(decision: dict[str, Any]) -> str:
    match decision["kind"]:
        case "continue":
            return f"on to round {decision['round']}"
        case "complete":
            return "the goal is met"
        case _:
            return f"blocked: {decision.get('reason', '')} {decision.get('detail', '')}".strip()
