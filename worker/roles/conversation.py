"""A job's journal as the model is shown it, and what to fold when it no longer fits the window."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pursuit.models import Entry
from worker.llm.caller import estimate
from worker.llm.model import Answer, Message
from worker.prompts import fence

#: shares of the model's window: from which on older steps are folded, and what of the newest stays as it is
FOLD_AT, STAYS = 0.75, 0.3
#: characters of each older step that who folds gets to see, so that a fold never outgrows the window itself
STEP_SHOWN = 3_000
#: the notice that begins another conversation of the same job
PART = "part"


def messages_of(system: str, user: str, entries: Sequence[Entry]) -> list[Message]:
    """The conversation. A summary stands for the entries before it; prompts and brief are always in.

    What people and the engine say between an answer and its results comes after these: endpoints want them in a row.
    """
    messages: list[Message] = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    held: list[Message] = []
    start = 0
    for entry in entries:
        if entry.kind == "summary":
            start = entry.body["upto"]
            messages.append({"role": "user", "content": fence("earlier_steps", {"summary": entry.body["text"]})})
    for entry in entries[start:]:
        if entry.kind == "result" and entry.body["id"]:
            text = entry.body["text"] if entry.body["ok"] else f"ERROR: {entry.body['text']}"
            messages.append({"role": "tool", "tool_call_id": entry.body["id"], "content": text})
        elif entry.kind == "answer":
            messages += held
            held = []
            messages.append(Answer.model_validate(entry.body).message())
        elif entry.kind == "guidance":
            held.append({"role": "user", "content": fence("guidance", {"a person says": entry.body["text"]})})
        elif entry.kind in ("result", "notice") and entry.body["text"]:
            held.append({"role": "user", "content": entry.body["text"]})
    return messages + held


def fold_at(entries: Sequence[Entry], most: int) -> int:
    """Up to which entry to fold, so that what stays takes `most` tokens; 0 when there is nothing to fold.

    Cut before an answer, never between an answer and its results; and the last answer always stays.
    """
    start = max((entry.body["upto"] for entry in entries if entry.kind == "summary"), default=0)
    places = [place for place in range(start, len(entries)) if entries[place].kind == "answer"]
    for place in places[1:]:
        if estimate(messages_of("", "", entries[place:])) <= most:
            return place
    return places[-1] if len(places) > 1 else 0


def steps_to_fold(entries: Sequence[Entry], upto: int, most: int) -> str:
    """The older steps in words, for who folds them; each cut to a share of `most` characters."""
    lines = []
    start = 0
    for entry in entries[:upto]:
        if entry.kind == "summary":
            start = entry.body["upto"]
            lines.append(f"before that: {entry.body['text']}")
    chosen = entries[start:upto]
    share = max(200, min(STEP_SHOWN, most // max(1, len(chosen))))
    for entry in chosen:
        match entry.kind:
            case "answer":
                answer = Answer.model_validate(entry.body)
                calls = "; ".join(f"{call.name}({call.arguments})" for call in answer.calls)
                lines.append(f"step: {answer.text} {calls}"[:share])
            case "result":
                lines.append(
                    f"{'result' if entry.body['ok'] else 'error'} of {entry.body['name']}: {entry.body['text']}"[:share]
                )
            case "guidance":
                lines.append(f"a person said: {entry.body['text']}")
    return "\n".join(lines)


def part_of(journal: Sequence[Entry], name: str) -> tuple[int, list[Entry]]:
    """Where one of a job's conversations begins in its journal, and its entries; one without a name is the first."""
    marks = [place for place, e in enumerate(journal) if e.kind == "notice" and e.body["name"] == PART]
    ends = [*marks, len(journal)]
    if not name:
        return 0, list(journal[: ends[0]])
    for place, mark in enumerate(marks):
        if journal[mark].body["part"] == name:
            return mark, list(journal[mark : ends[place + 1]])
    return len(journal), []


def results_after(entries: Sequence[Entry], index: int) -> dict[str, Entry]:
    """Results of the answer at `index`, by call id; ids of other answers may be the same."""
    found = {}
    for entry in entries[index + 1 :]:
        if entry.kind == "answer":
            break
        if entry.kind == "result":
            found[entry.body["id"]] = entry
    return found


def repeated(entries: Sequence[Entry], name: str, arguments: str, changing: Sequence[str]) -> int:
    """How often this very call has brought the very same result, without anything having changed in between.

    `changing`: tools whose success may make the same call come out otherwise.
    """
    times, same, wanted = 0, None, _normal(arguments)
    for place in range(len(entries) - 1, -1, -1):
        entry = entries[place]
        if entry.kind == "guidance":
            return times
        if entry.kind != "answer":
            continue
        results = results_after(entries, place)
        for call in entry.body["calls"]:
            result = results.get(call["id"])
            if result is None or result.body["name"] != call["name"]:
                continue
            if call["name"] == name and _normal(call["arguments"]) == wanted:
                if result.body.get("broken"):
                    times += 1
                elif same is None or result.body["text"] == same:
                    same, times = result.body["text"], times + 1
                else:
                    return times
            elif call["name"] in changing and result.body["ok"]:
                return times
    return times


def _normal(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments or "{}"), sort_keys=True)
    except ValueError:
        return arguments
