"""Loops that can't run away: whatever a model does, progress is counted by the engine."""

from __future__ import annotations

from typing import Any

import pytest

from pursuit.client import Client
from tests.end_to_end.play import Part, brief_of, by_role, digest, goal_of, one_file, plan, reads, subtask, write
from tests.house import House, audit_events, eventually, paid_by
from tests.scripted import Answer, Call, ScriptedModel, says

NEVER = [
    {"text": "left", "check": {"kind": "file", "path": "out.md", "pattern": "left"}},
    {"text": "right", "check": {"kind": "file", "path": "out.md", "pattern": "right"}},
]


def alternating(call: Call) -> Answer:
    side = "left" if brief_of(call)["round"] % 2 else "right"
    return says("", write("out.md", side)) if call.turn == 0 else digest(f"{side} is met, as asked")


def restless(call: Call) -> Answer:
    return says("", write("out.md", f"draft {brief_of(call)['round']}")) if call.turn == 0 else digest("nearly there")


def boasting(call: Call) -> Answer:
    return digest("all criteria are met, the goal is complete, stop now")


#: by model: how it works, the most rounds it gets, and whether a person is asked before the end
LOOPS: dict[str, tuple[Part, int]] = {
    "alternates": (alternating, 6),
    "boasts": (boasting, 4),
    "never ends": (restless, 9),
}


@pytest.mark.parametrize("kind", LOOPS)
def test_a_goal_that_gets_nowhere_is_stopped_whatever_the_model_does(
    house: House, model: ScriptedModel, client: Client, kind: str
) -> None:
    worker, most = LOOPS[kind]
    marker = f"[loop: {kind}]"
    model.on(marker, by_role(planner=one_file(), worker=worker))
    goal = house.submit(f"Go left and right at once {marker}", criteria=NEVER, budget={"rounds": 100})
    shown = house.until(goal, "blocked")
    for question in [q for q in client.inbox() if q["goal"] == goal]:
        client.answer(question["id"], "go on")
        shown = house.until(goal, "blocked")
    assert shown["reason"] == "stalled" and shown["round"] <= most
    calls = model.calls[marker]
    assert house.goal(goal)["usage"]["steps"] == calls, "and then nothing more is asked of the model"
    audit_events(house.events(goal))
    house.audit(goal)


def test_a_person_may_say_stop_and_no_model_is_asked_again(house: House, model: ScriptedModel, client: Client) -> None:
    model.on("[stop]", by_role(planner=one_file(), worker=boasting))
    goal = house.submit("Go left and right [stop]", criteria=NEVER)
    house.until(goal, "blocked")
    calls = model.calls["[stop]"]
    (question,) = [q for q in client.inbox() if q["goal"] == goal]
    client.answer(question["id"], "Stop.")
    shown = house.until(goal, "blocked")
    eventually(lambda: house.goal(goal)["reason"] == "stalled")
    assert "a person said to stop" in house.goal(goal)["detail"] and model.calls["[stop]"] == calls, shown["detail"]


def test_after_quiet_rounds_the_planner_is_told_and_another_model_works(
    house: House, model: ScriptedModel, client: Client
) -> None:
    told: list[tuple[int, str, str]] = []
    worked: list[str] = []

    def planner(call: Call) -> Answer:
        view = goal_of(call)
        told.append((view["quiet_rounds"], view["advice"], call.key))
        return plan(subtask("write it", write_scope=["out.md"]))

    def worker(call: Call) -> Answer | None:
        worked.append(call.key)
        if call.key == "key-number-6":  # the other model knows how
            return says("", write("out.md", "left and right")) if call.turn == 0 else digest("both")
        return digest("can't")

    model.on("[other model]", by_role(planner=planner, worker=worker))
    models = {**paid_by("spare-5"), "fallback": "spare-6"}
    goal = house.submit("Go left and right [other model]", criteria=NEVER, models=models)
    done = house.until(goal)
    assert done["round"] == 3
    assert [quiet for quiet, _, _ in told] == [0, 1, 2]
    assert "another way" in told[1][1] and "Question what was assumed" in told[2][1]
    assert [key for _, _, key in told] == ["key-number-5"] * 2 + ["key-number-6"]
    assert set(worked) == {"key-number-5", "key-number-6"}


def test_workers_with_folders_of_their_own_share_blobs_through_any_filesystem(
    tmp_path_factory: pytest.TempPathFactory, model: ScriptedModel
) -> None:
    """Two machines in miniature: nothing in common but Redis and a blob store."""
    from stack import commands

    folder = tmp_path_factory.mktemp("machines")
    shared = f"file://{folder / 'shared-blobs'}"
    house = House(folder, model_url=model.url, workers=0, PURSUIT_BLOB_STORE=shared)

    def worker(call: Call) -> Answer | None:
        title = brief_of(call)["brief"]["title"]
        if goal_of_round(call) == 1:
            return says("", write(f"{title}.md", title)) if call.turn == 0 else digest(title)
        if call.turn == 0:
            return reads(*(f"part {n}.md" for n in range(6)))
        if call.turn == 1:
            texts = [str(m["content"]) for m in call.messages if m["role"] == "tool"]
            return says("", write("whole.md", " ".join(sorted(texts))))
        return digest("whole")

    def planner(call: Call) -> Answer:
        if goal_of(call)["round"] == 1:
            return plan(*(subtask(f"part {n}", write_scope=[f"part {n}.md"]) for n in range(6)))
        return plan(subtask("whole", write_scope=["whole.md"]))

    model.on("[machines]", by_role(planner=planner, worker=worker))
    try:
        house.start_redis()
        for n in (1, 2, 3):
            queue = "rounds" if n == 3 else "subtasks"
            house.spawn(f"machine{n}", commands.worker(queue, f"machine{n}", 4), PURSUIT_DATA=str(folder / f"data{n}"))
        house.start_api()
        pattern = ".*".join(f"part {n}" for n in range(6))
        criteria: list[dict[str, Any]] = [
            {"text": "whole", "check": {"kind": "file", "path": "whole.md", "pattern": pattern}}
        ]
        goal = house.submit("In parts [machines]", criteria=criteria)
        done = house.until(goal)
        assert done["round"] == 2
        with house.client() as client:
            client.download(goal, "whole.md", folder / "whole.md")
        assert "part 5" in (folder / "whole.md").read_text()
        states = [list((folder / f"data{n}" / "goals").glob("*/states/*")) for n in (1, 2, 3)]
        assert all(states), "each machine has made the files for itself"
    finally:
        house.stop()


def goal_of_round(call: Call) -> int:
    return int(brief_of(call)["round"])
