"""What planner and verifier see keeps its size, whatever the number of digests, and names each of them."""

from __future__ import annotations

import json

from pursuit.models import Digest, Entry
from worker.llm.model import Answer, ToolCall
from worker.roles.conversation import fold_at, messages_of, repeated, steps_to_fold
from worker.roles.view import digest_view


def digests(count: int) -> dict[str, Digest]:
    return {
        f"r1-{n:03d}": Digest(outcome="done", answer="x" * 6_000, gaps=("y" * 300,) * 9) for n in range(1, count + 1)
    }


def test_three_hundred_digests_are_folded_and_all_are_named() -> None:
    few, many = (len(json.dumps(digest_view(digests(count)))) for count in (60, 300))
    assert many < 2 * few < 200_000
    text = json.dumps(digest_view(digests(300)))
    assert all(name in text for name in digests(300))


def test_those_that_went_wrong_come_first() -> None:
    mixed = digests(100) | {"r1-200": Digest(outcome="failed", answer="no key")}
    assert digest_view(mixed)["digests"][0]["subtask"] == "r1-200"


def step(number: int, text: str = "x" * 400, name: str = "look", arguments: str = "{}") -> list[Entry]:
    call = ToolCall(id="c", name=name, arguments=arguments)
    result = {"id": "c", "name": name, "ok": True, "text": text}
    return [
        Entry(kind="answer", body=Answer(text=f"step {number}", calls=(call,)).model_dump()),
        Entry(kind="result", body=result),
    ]


def test_a_conversation_is_cut_before_an_answer_and_the_last_always_stays() -> None:
    entries = [entry for number in range(10) for entry in step(number)]
    place = fold_at(entries, 500)
    assert place % 2 == 0 and entries[place].kind == "answer" and 8 <= place < 20
    assert fold_at(entries, 0) == 18
    assert fold_at(entries[:2], 0) == 0, "one step can't be folded"
    summary = Entry(kind="summary", body={"upto": place, "text": "was there"})
    shown = messages_of("s", "u", [*entries, summary])
    assert [m["content"] for m in shown[:2]] == ["s", "u"] and "was there" in shown[2]["content"]
    assert len(shown) == 3 + (20 - place)
    assert len(steps_to_fold(entries, place, 2_000)) < 6_000


def test_words_between_an_answer_and_its_results_come_after_these() -> None:
    answer, result = step(1)
    guidance = Entry(kind="guidance", body={"number": 1, "text": "hurry"})
    start = Entry(kind="start", body={"id": "c", "name": "look"})
    roles = [m["role"] for m in messages_of("s", "u", [answer, start, guidance, result])]
    assert roles == ["system", "user", "assistant", "tool", "user"]


def test_the_same_call_counts_until_something_has_changed() -> None:
    same = step(1) + step(2) + step(3)
    assert repeated(same, "look", "{ }", []) == 3, "spaces don't matter"
    assert repeated(same, "look", '{"other": 1}', []) == 0
    assert repeated([*step(0, "other text"), *same], "look", "{}", []) == 3, "another result was no repetition"
    changed = [*same, *step(4, "done", "write"), *step(5)]
    assert repeated(changed, "look", "{}", ["write"]) == 1
    assert repeated(changed, "look", "{}", []) == 4
