"""What happens now with a goal, in one sentence for people. Pure."""

from __future__ import annotations

from pursuit.models import Goal
from pursuit.state import Phase, Reason, Status


def now(goal: Goal) -> str:
    """One sentence: what runs, what it waits for, or how it ended."""
    match goal.status:
        case Status.QUEUED:
            if goal.reason is Reason.START_AT:
                return "Waits for its time to start."
            return "Waits for a worker to plan the first round."
        case Status.RUNNING:
            return _running(goal)
        case Status.PAUSED:
            return f"Paused before going on with round {goal.round}{_because(goal)}. Resume it to go on."
        case Status.BLOCKED:
            return _blocked(goal)
        case Status.WAITING:
            return _waiting(goal)
        case Status.COMPLETED:
            if goal.reason is Reason.ACCEPTED:
                met = sum(f.status == "met" for f in goal.findings)
                total = len(goal.contract.criteria)
                return (
                    f"Accepted by a person{_because(goal)} in round {goal.round}, with {met} of {total} criteria met."
                )
            return f"Done: all {len(goal.contract.criteria)} criteria are met after {_count(goal.round, 'round')}."
        case Status.CANCELLED:
            return f"Cancelled in round {goal.round}{_because(goal)}."


def _running(goal: Goal) -> str:
    if goal.pausing:
        if goal.wish == "after_round":
            return f"Round {goal.round} goes on to its end, then the goal pauses."
        return f"Pausing: {_count(goal.tally.running, 'sub-agent')} finishing the current step."
    match goal.phase:
        case Phase.PLANNING:
            return f"Round {goal.round}: the planner cuts the work into subtasks."
        case Phase.EXECUTING:
            done = goal.tally.total - goal.tally.open
            waiting = f", {goal.tally.parked} waiting for an answer" if goal.tally.parked else ""
            return (
                f"Round {goal.round}: {done} of {_count(goal.tally.total, 'subtask')} done, "
                f"{goal.tally.running} running{waiting}."
            )
        case Phase.VERIFYING:
            return f"Round {goal.round}: the checks are executed and the criteria judged."


def _waiting(goal: Goal) -> str:
    until = f" It goes on by itself at {goal.wake_at:%Y-%m-%d %H:%M:%S} UTC" if goal.wake_at else ""
    if goal.reason is Reason.QUOTA:
        return f"Waits for the model account's quota{_because(goal)}.{until}; nothing is spent meanwhile."
    if goal.wait is not None:
        return f"Waits for {goal.detail or goal.wait.kind}.{until}, and asks no model meanwhile."
    return f"Waits{_because(goal)}.{until}."


def _blocked(goal: Goal) -> str:
    cures = {
        Reason.QUESTION: "Answer the open questions to go on.",
        Reason.APPROVAL: "Approve or deny what is asked to go on.",
        Reason.SIGN_OFF: "Sign it off, or say what is missing.",
        Reason.BUDGET: "Resume it with a larger budget to go on.",
        Reason.STALLED: "Look at what the last rounds tried, then resume or cancel it.",
        Reason.REPEATED_BLOCKER: "Clear what blocks it, then resume it.",
        Reason.IMPOSSIBLE: "Change what is asked for, or cancel it.",
        Reason.CONFIGURATION: "Correct the configuration, then resume it.",
    }
    reason = goal.reason or Reason.STALLED
    return f"Blocked ({reason}): {goal.detail or 'it can not go on'}. {cures.get(reason, '')}".strip()


def _because(goal: Goal) -> str:
    return f" ({goal.detail})" if goal.detail else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
