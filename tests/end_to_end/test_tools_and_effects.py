"""Tools with effects: at most once, by a person's leave, with secrets nobody sees; loops and delays are broken up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from pursuit.client import Client
from tests.house import House, eventually
from tests.scripted import Answer, Call, ScriptedModel, says

SECRET = "planted-Secret-4711-of-the-registry"


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory, model: ScriptedModel) -> Any:
    """A house whose tools send letters and know a secret."""
    folder = tmp_path_factory.mktemp("post")
    house = House(
        folder,
        model_url=model.url,
        LETTERS=str(folder / "letters.txt"),
        REGISTRY_KEY=SECRET,
        PYTHONPATH=str(Path(__file__).parents[2]),
        PURSUIT_TOOLS='["tests.letters:send_letter", "tests.letters:ask_registry"]',
        PURSUIT_SECRETS='["REGISTRY_KEY"]',
        PURSUIT_COMMANDS="all",
    )
    house.start()
    yield house
    house.stop()


#: one sub-agent with every tool there is
PLAN = says("", ("submit_plan", {"subtasks": [{"title": "one", "objective": "do one thing"}]}))


def letters(house: House) -> list[str]:
    box = Path(house.env["LETTERS"])
    return box.read_text().splitlines() if box.exists() else []


def writes_to(name: str, *more: tuple[str, Any]) -> Any:
    """A sub-agent that sends one letter and hands in what became of it."""

    def handler(call: Call) -> Answer | None:
        if call.role != "digest":
            return PLAN if call.role == "plan" else None
        if call.turn == 0:
            return says("", ("send_letter", {"to": name, "text": "hello"}), *more)
        heard = " | ".join(str(m["content"]) for m in call.messages if m["role"] == "tool")
        return says("", ("submit_digest", {"outcome": "done", "answer": heard[:2000]}))

    return handler


def answer_of(client: Client, goal: str, job: str = "r1-001") -> str:
    return str(client.subtask(goal, job)["digest"]["answer"])


def submit(house: House, text: str, **over: Any) -> str:
    return house.submit(text, inputs=[house.items(1)], **{"budget": {"rounds": 1}, **over})


@pytest.mark.parametrize(
    ("point", "reply", "sent"),
    [
        ("after_tools_before_journal", "it took effect", 1),
        ("after_tools_before_journal", "run it again", 2),
        ("after_start_of_tool", "run it again", 1),
    ],
)
def test_an_effect_cut_off_from_its_record_becomes_a_question_never_a_silent_repeat(
    post: House, model: ScriptedModel, point: str, reply: str, sent: int
) -> None:
    name, before = f"ann-{point}-{sent}", int(point == "after_tools_before_journal")
    model.on(f"[letter {name}]", writes_to(name))
    post.kill("subagents1", signal.SIGTERM)
    post.kill("subagents2", signal.SIGTERM)
    for worker in ("subagents1", "subagents2"):
        post.processes[worker].wait(20)
    post.env["PURSUIT_CRASH"] = point
    post.start_worker("subagents1")
    del post.env["PURSUIT_CRASH"]
    goal = submit(post, f"Write [letter {name}]")
    eventually(lambda: post.processes["subagents1"].poll() is not None, seconds=30)
    assert letters(post).count(f"{name}: hello") == before
    post.start_worker("subagents1")
    post.start_worker("subagents2")
    with post.client() as client:
        (question,) = eventually(lambda: [q for q in client.inbox() if q["goal"] == goal], seconds=20)
        assert "Did it take effect?" in question["text"] and name in question["text"]
        assert letters(post).count(f"{name}: hello") == before
        client.answer(question["id"], reply)
        post.until(goal, "blocked", "completed", seconds=30)
        assert ("a person says" in answer_of(client, goal)) is (reply == "it took effect")
    assert letters(post).count(f"{name}: hello") == sent


def test_a_letter_is_sent_once_when_nothing_goes_wrong(post: House, model: ScriptedModel) -> None:
    model.on("[plain letter]", writes_to("bob"))
    goal = submit(post, "Write [plain letter]")
    post.until(goal, "blocked", "completed")
    assert letters(post).count("bob: hello") == 1
    with post.client() as client:
        kinds = [step["kind"] for step in client.steps(goal, "r1-001")["items"]]
    assert kinds == ["answer", "start", "result", "answer"]


@pytest.mark.parametrize(("decision", "sent"), [("approve", 1), ("deny", 0)])
def test_a_tool_that_needs_leave_waits_for_a_person(
    post: House, model: ScriptedModel, decision: str, sent: int
) -> None:
    name = f"carol-{decision}"
    model.on(f"[leave {decision}]", writes_to(name))
    goal = submit(post, f"Write [leave {decision}]", policy={"tools": {"send_letter": "ask"}})
    with post.client() as client:
        (question,) = eventually(lambda: [q for q in client.inbox() if q["goal"] == goal], seconds=20)
        assert name in question["text"] and "approve" in question["options"]
        assert letters(post).count(f"{name}: hello") == 0
        client.answer(question["id"], decision)
        post.until(goal, "blocked", "completed")
        assert letters(post).count(f"{name}: hello") == sent
        assert ("denied" in answer_of(client, goal)) is (sent == 0)


def test_always_holds_for_the_tool_and_the_goal(post: House, model: ScriptedModel) -> None:
    second = ("send_letter", {"to": "dora-2", "text": "hello"})

    def twice(call: Call) -> Answer | None:
        if call.role == "digest" and call.turn == 1:
            return says("", second)
        return writes_to("dora-1")(call)  # type: ignore[no-any-return]

    model.on("[always]", twice)
    goal = submit(post, "Write [always]", policy={"tools": {"send_letter": "ask"}})
    with post.client() as client:
        (question,) = eventually(lambda: [q for q in client.inbox() if q["goal"] == goal], seconds=20)
        client.answer(question["id"], "always")
    post.until(goal, "blocked", "completed")
    assert [line for line in letters(post) if line.startswith("dora")] == ["dora-1: hello", "dora-2: hello"]


def test_a_tool_that_is_denied_is_not_there(post: House, model: ScriptedModel) -> None:
    offered: set[str] = set()

    def look(call: Call) -> Answer | None:
        offered.update(call.offered if call.role == "digest" else ())
        return writes_to("eve")(call)  # type: ignore[no-any-return]

    model.on("[denied]", look)
    goal = submit(post, "Write [denied]", policy={"tools": {"send_letter": "deny"}})
    post.until(goal, "blocked", "completed")
    assert "send_letter" not in offered and "read_file" in offered
    assert not [line for line in letters(post) if line.startswith("eve")]


def test_a_secret_reaches_the_tool_and_nothing_else(post: House, model: ScriptedModel) -> None:
    seen: list[str] = []
    shell = {"command": 'test -n "$REGISTRY_KEY" && echo got $REGISTRY_KEY', "secrets": ["REGISTRY_KEY"]}

    def leak(call: Call) -> Answer | None:
        seen.append(json.dumps(call.messages))
        if call.role != "digest":
            return PLAN if call.role == "plan" else None
        if '"code"' not in str(call.messages):
            return says("", ("ask_registry", {"name": "x"}), ("run_command", shell))
        heard = " ".join(str(m["content"]) for m in call.messages if m["role"] == "tool")
        return says(f"it said {heard}", ("submit_digest", {"outcome": "done", "answer": heard[:2000]}))

    model.on("[secret]", leak)
    # a person pastes it as well
    goal = submit(post, "Look it up [secret]")
    with post.client() as client:
        client.guide(goal, f"the key is {SECRET}")
        post.until(goal, "blocked", "completed")
        heard = answer_of(client, goal)
    assert ("got [redacted]" in heard and "Bearer [redacted]" in heard) or "[redacted]" in heard
    assert '"code": 0' in heard, "the command had it"
    assert not [text for text in seen if SECRET in text], "no prompt has it"
    events = [e for e in post.events(goal) if e["type"] != "goal.guidance"]
    assert SECRET not in json.dumps(events)
    for name in post.processes:
        assert SECRET not in post.log(name), name
    blobs = [p for p in (post.folder / "data" / "blobs").rglob("*") if p.is_file()]
    assert blobs
    for blob in blobs:
        content = blob.read_bytes()
        with contextlib.suppress(zlib.error):
            content = zlib.decompress(content)
        assert SECRET.encode() not in content


def test_a_call_made_again_and_again_is_broken_up(house: House, model: ScriptedModel) -> None:
    """openai/codex#36503: 2,514 identical calls."""
    told: list[str] = []

    def again(call: Call) -> Answer | None:
        if call.role != "digest":
            return PLAN if call.role == "plan" else None
        told.extend(str(m["content"]) for m in call.messages[-1:] if m["role"] == "tool")
        if call.offered == {"submit_digest"}:
            return says("", ("submit_digest", {"outcome": "partial", "answer": "I was going round in circles"}))
        return says("", ("list_files", {"pattern": "*"}))

    model.on("[circles]", again)
    goal = submit(house, "Go round [circles]")
    house.until(goal, "blocked", "completed")
    with house.client() as client:
        shown = client.subtask(goal, "r1-001")
    assert shown["digest"]["answer"] == "I was going round in circles"
    assert shown["steps"] <= 7
    assert any("made this very call before" in text for text in told)


def test_time_runs_out_softly_then_hard_and_the_digest_still_comes(house: House, model: ScriptedModel) -> None:
    told: list[str] = []

    async def dawdle(call: Call) -> Answer | None:
        if call.role == "plan" and call.turn == 0:
            brief = {"title": "slow", "objective": "take your time", "seconds": 10, "steps": 100}
            return says("", ("submit_plan", {"subtasks": [brief]}))
        if call.role != "digest":
            return None
        told.extend(str(m["content"]) for m in call.messages if "time is nearly up" in str(m["content"]))
        if call.offered == {"submit_digest"}:
            return says("", ("submit_digest", {"outcome": "partial", "answer": "all I had"}))
        await asyncio.sleep(2)
        return says("", ("list_files", {"pattern": f"{call.turn}*"}))

    model.on("[dawdle]", dawdle)
    began = time.monotonic()
    goal = house.submit("Dawdle [dawdle]", budget={"rounds": 1})
    house.until(goal, "blocked", "completed", seconds=40)
    assert 11 < time.monotonic() - began < 25
    assert told, "a notice comes first"
    with house.client() as client:
        assert client.subtask(goal, "r1-001")["digest"]["answer"] == "all I had"


def test_a_conversation_that_outgrows_its_window_is_folded(post: House, model: ScriptedModel) -> None:
    sizes: list[int] = []
    folds: list[str] = []

    def read_on(call: Call) -> Answer | None:
        if not call.tools and "steps" in call.text:
            folds.append(call.text)
            return Answer(text=f"Notes so far: {len(folds)} folds", tokens_in=1)
        if call.role != "digest":
            return None
        sizes.append(sum(len(str(m["content"])) for m in call.messages) // 4)
        assert "read a lot" in str(call.messages[1]["content"]), "the brief is always in"
        if len(sizes) == 12:
            notes = [m for m in call.messages if "Notes so far" in str(m["content"])]
            return says("", ("submit_digest", {"outcome": "done", "answer": str(notes[-1]["content"])}))
        return says("", ("run_command", {"command": f"seq {len(sizes)} 2000"}))

    def plan(call: Call) -> Answer | None:
        if call.role == "plan":
            brief = {"title": "read", "objective": "read a lot", "steps": 50}
            return says("", ("submit_plan", {"subtasks": [brief]}))
        return read_on(call)

    model.on("[window]", plan)
    goal = post.submit("Read [window]", models={"subagent": "small"}, budget={"rounds": 1})
    post.until(goal, "blocked", "completed", seconds=40)
    assert folds and max(sizes) < 9_000, sizes
    with post.client() as client:
        assert "Notes so far" in answer_of(client, goal)
        steps = client.steps(goal, "r1-001")["items"]
    assert any(step["kind"] == "summary" for step in steps), "journaled like any step"
