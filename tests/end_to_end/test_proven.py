"""Whole goals whose swarm lies, whose judge is lazy and whose checks are partly broken: no lie completes one.

A coding goal on a real repository, a research goal over a web site whose pages contradict each other, and a data goal
of 200 items. The models are scripted; files, checks, git, pages and sub-agents are real.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from pursuit.client import Client
from tests.end_to_end.play import brief_of, by_role, digest, goal_of, plan, reads, subtask, write
from tests.end_to_end.test_layers import git, make_repository
from tests.house import House, audit_events
from tests.scripted import Answer, Call, ScriptedModel, says
from worker.prompts import unfence

# --- coding -------------------------------------------------------------------------------------

PACKAGE = {
    "calc/__init__.py": "",
    "calc/plus.py": "def plus(a, b):\n    return a - b\n",
    "calc/minus.py": "def minus(a, b):\n    return b - a\n",
    "tests/__init__.py": "",
    "tests/test_calc.py": (
        "import unittest\n\nfrom calc.minus import minus\nfrom calc.plus import plus\n\n\n"
        "class Calc(unittest.TestCase):\n"
        "    def test_plus(self):\n        self.assertEqual(plus(2, 3), 5)\n\n"
        "    def test_minus(self):\n        self.assertEqual(minus(5, 3), 2)\n"
    ),
}
GREEN = "import unittest\n\n\nclass Calc(unittest.TestCase):\n    def test_all(self):\n        self.assertTrue(True)\n"
SUITE = "cd code && python -m unittest -q"


def test_a_coding_goal_is_complete_when_its_own_test_suite_passes(
    house: House, model: ScriptedModel, client: Client
) -> None:
    repository = make_repository(house.folder / "package", PACKAGE)
    seen: dict[str, Any] = {}

    def planner(call: Call) -> Answer:
        view = goal_of(call)
        match view["round"]:
            case 1:
                return plan(
                    subtask("fix plus", write_scope=["code/calc/plus.py"]),
                    subtask("fix minus", write_scope=["code/calc/minus.py", "code/tests"]),
                )
            case 2:
                # the evidence of the real suite is in front of the planner, and it is the planner's to act on
                seen["evidence"] = view["evidence"][0]
                return plan(
                    subtask("really fix minus", write_scope=["code/calc/minus.py"]),
                    subtask("put the tests back", write_scope=["code/tests"]),
                )
            case _:
                return plan(subtask("document it", write_scope=["code/README.md"]))

    def worker(call: Call) -> Answer:
        title = brief_of(call)["brief"]["title"]
        if call.turn:
            return digest("all tests pass, the goal is complete!")  # whatever it has done
        match title:
            case "fix plus":
                old = {"path": "code/calc/plus.py", "old": "a - b", "new": "a + b"}
                return says("", ("edit_file", old))
            case "fix minus":  # makes the tests agree with the code
                return says("", write("code/tests/test_calc.py", GREEN))
            case "really fix minus":
                return says("", ("edit_file", {"path": "code/calc/minus.py", "old": "b - a", "new": "a - b"}))
            case "put the tests back":
                return says("", write("code/tests/test_calc.py", PACKAGE["tests/test_calc.py"]))
            case _:
                return says("", write("code/README.md", "# calc\n\nAdds and subtracts.\n"))

    def judge(call: Call) -> Answer:
        """Says at once that all is well; sent back, it looks, and finds what there is."""
        asked = unfence("verification", call.text)["asked"]
        if call.turn == 1:
            return reads("code/README.md")
        there = call.turn == 0 or not str(call.messages[-1]["content"]).startswith("ERROR")
        found = [{"criterion": c, "status": "met" if there else "not_met", "seen": ["code/README.md"]} for c in asked]
        return says("", ("submit_verdict", {"findings": found}))

    model.on("[coding]", by_role(planner=planner, worker=worker, judge=judge))
    goal = house.submit(
        "Make the package work [coding]",
        inputs=[{"path": str(repository), "name": "code", "edit": True}],
        criteria=[
            {"text": "the suite passes", "check": {"kind": "command", "command": SUITE, "pristine": ["code/tests"]}},
            {"text": "a README says what it is"},
        ],
    )
    done = house.until(goal)
    assert (done["reason"], done["round"]) == ("met", 3)
    rounds = client.rounds(goal)["items"]
    statuses = [{f["criterion"]: f["status"] for f in r["verdict"]["findings"]} for r in rounds]
    assert statuses == [
        {"c1": "not_met", "c2": "cannot_tell"},
        {"c1": "met", "c2": "not_met"},
        {"c1": "met", "c2": "met"},
    ]
    assert "test_minus" in seen["evidence"]["output"], "the suite as it was, not as it was made to be"
    branch = f"pursuit/{goal}"
    assert git(repository, "log", "--format=%s", f"main..{branch}").count("Round") == 3
    assert git(repository, "diff", "--stat", "main", branch, "--", "tests") == ""
    git(repository, "worktree", "add", "-q", str(house.folder / "checked-out"), branch)
    assert "b - a" not in (house.folder / "checked-out" / "calc" / "minus.py").read_text()
    report = client.report(goal)
    assert report["outcome"] == "met" and report["criteria"][0]["evidence"]["passed"]
    audit_events(house.events(goal))
    house.audit(goal)


# --- research -----------------------------------------------------------------------------------

PAGES = {
    "/museum": "The lighthouse was finished in 1847, says the keeper's own log, which the museum holds.",
    "/blog": "Everybody knows that the lighthouse was finished in 1874!",
    "/register": "Register of public works: lighthouse, finished 1847.",
}


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = PAGES.get(self.path)
        self.send_response(200 if text else 404)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write((text or "nothing here").encode())

    def log_message(self, *_: Any) -> None:
        return None


@pytest.fixture
def pages() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def open_house(tmp_path_factory: pytest.TempPathFactory, model: ScriptedModel) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("open"), model_url=model.url, workers=1, PURSUIT_FETCH_PRIVATE="true")
    house.start()
    yield house
    house.stop()


ANSWER = {
    "type": "object",
    "required": ["year", "sources", "contradictions"],
    "properties": {
        "year": {"type": "integer"},
        "sources": {"type": "array", "minItems": 2},
        "contradictions": {"type": "array", "minItems": 1},
    },
}


def test_a_research_goal_names_what_contradicts_and_its_judge_looks_at_the_sources(
    open_house: House, model: ScriptedModel, pages: str
) -> None:
    def planner(call: Call) -> Answer:
        if goal_of(call)["round"] == 1:
            return plan(*(subtask(f"read {page}", write_scope=[f"notes{page}.md"]) for page in PAGES))
        return plan(subtask("answer", write_scope=["answer.json"]))

    def worker(call: Call) -> Answer:
        title = brief_of(call)["brief"]["title"]
        if title == "answer":
            return answer(call)
        page = title.split()[-1]
        if call.turn == 0:
            return says("", ("fetch_page", {"url": pages + page}))
        text = json.loads(str(call.messages[-1]["content"]))["text"] if call.turn == 1 else ""
        if page == "/register":
            text = text.replace("1847", "1874")  # reports something else than what stands there
        return says("", write(f"notes{page}.md", f"{pages}{page}: {text}")) if call.turn == 1 else digest("read")

    def answer(call: Call) -> Answer:
        if call.turn == 0:
            return says("", ("read_files", {"pattern": "notes/*.md"}))
        if call.turn == 2:
            return digest("answered, and all of it is verified", artifacts=["answer.json"])
        notes = json.loads(str(call.messages[-1]["content"]))["files"]
        years = {n["text"].split(": ", 1)[0]: 1847 if "1847" in n["text"] else 1874 for n in notes}
        counted = sorted(years.values(), key=list(years.values()).count)[-1]
        if len(model_rounds) >= 2:  # told that the register says otherwise, it looks for itself
            years[f"{pages}/register"], counted = 1847, 1847
        body = {
            "year": counted,
            "sources": list(years),
            "contradictions": [u for u, y in years.items() if y != counted],
        }
        return says("", write("answer.json", json.dumps(body)))

    model_rounds: list[int] = []

    def judge(call: Call) -> Answer:
        """Holds the answer against the pages themselves."""
        if call.turn == 0:
            fetches = [("fetch_page", {"url": pages + page}) for page in PAGES]
            return says("", ("read_file", {"path": "answer.json"}), *fetches)
        results = [json.loads(str(m["content"])) for m in call.messages if m["role"] == "tool"]
        body, texts = json.loads(results[0]["text"]), [r["text"] for r in results[1:]]
        right = sum(str(body["year"]) in text for text in texts) * 2 > len(texts)
        model_rounds.append(goal_round(call))
        why = f"{sum(str(body['year']) in text for text in texts)} of {len(texts)} pages say {body['year']}"
        found = {"criterion": "c3", "status": "met" if right else "not_met", "why": why, "seen": ["answer.json"]}
        return says("", ("submit_verdict", {"findings": [found]}))

    def goal_round(call: Call) -> int:
        return len(model_rounds) + 1

    model.on("[research]", by_role(planner=planner, worker=worker, judge=judge))
    model_rounds.append(0)
    goal = open_house.submit(
        "When was the lighthouse finished? [research]",
        criteria=[
            {"text": "the sources are up", "check": {"kind": "http", "url": f"{pages}/museum", "pattern": "1847"}},
            {"text": "an answer", "check": {"kind": "file", "path": "answer.json", "json_schema": ANSWER}},
            {"text": "the year is what most sources say"},
        ],
    )
    done = open_house.until(goal)
    with open_house.client() as client:
        rounds = client.rounds(goal)["items"]
        found = [r["verdict"]["findings"][2] for r in rounds]
    assert [f["status"] for f in found] == ["cannot_tell", "not_met", "met"]
    assert found[1]["why"] == "1 of 3 pages say 1874", "the false note was believed by the swarm, not by the judge"
    assert done["criteria"][1]["evidence"]["output"].endswith("fits the JSON schema")
    open_house.audit(goal)


# --- data ---------------------------------------------------------------------------------------

ROWS = 200
#: every one of them must be there, and right: recomputed from the input, not from what was written
CHECK = (
    "import json, pathlib, sys\n"
    "rows = [int(r) for r in pathlib.Path('inputs/rows/rows.txt').read_text().split()]\n"
    "wrong = []\n"
    "for row in rows:\n"
    "    file = pathlib.Path(f'out/{row}.json')\n"
    "    if not file.is_file() or json.loads(file.read_text()).get('square') != row * row:\n"
    "        wrong.append(row)\n"
    "print('wrong or missing:', wrong)\n"
    "sys.exit(bool(wrong))\n"
)
LIARS, SLOPPY = range(5), range(5, 10)


def test_a_data_goal_of_200_items_is_complete_when_every_item_is_right(
    house: House, model: ScriptedModel, client: Client
) -> None:
    rows = house.folder / "rows"
    rows.mkdir()
    (rows / "rows.txt").write_text("\n".join(map(str, range(ROWS))))
    (rows / "check.py").write_text(CHECK)
    plans: list[dict[str, Any]] = []

    def planner(call: Call) -> Answer:
        view = goal_of(call)
        plans.append(view["open_items"])
        template = subtask("square {item}", write_scope=["out/{item}.json"])
        if view["round"] == 1:
            return plan(template=template, items=[str(n) for n in range(ROWS)])
        if view["round"] == 2:
            return plan(template=template, open_items=True)
        if view["round"] == 4:
            broken = view["evidence"][1:] and "not found" in view["evidence"][1]["output"]
            if broken:
                return says("", ("submit_plan", {"blocker": {"text": "c2's program isn't there: not found"}}))
            return plan(subtask("note that c2 is gone", write_scope=["note.md"]))
        output = view["evidence"][0]["output"]
        wrong = json.loads(output[output.index("[") : output.index("]") + 1])
        return plan(template=template, items=[str(n) for n in wrong])

    def worker(call: Call) -> Answer:
        brief = brief_of(call)
        if not brief["brief"]["item"]:
            return says("", write("note.md", "gone")) if call.turn == 0 else digest("noted")
        item, first = int(brief["brief"]["item"]), brief["round"] == 1
        if call.turn or (first and item in LIARS):
            return digest(f"{item} is done")
        square = item * item + (1 if first and item in SLOPPY else 0)
        return says("", write(f"out/{item}.json", json.dumps({"square": square})))

    model.on("[data]", by_role(planner=planner, worker=worker))
    goal = house.submit(
        "Square them all [data]",
        inputs=[{"path": str(rows), "name": "rows"}],
        criteria=[
            {"text": "every one is right", "check": {"kind": "command", "command": "python inputs/rows/check.py"}},
            {"text": "and valid", "check": {"kind": "command", "command": "no-such-validator out"}},
        ],
    )
    blocked = house.until(goal, "blocked", "completed", seconds=120)
    assert (blocked["reason"], blocked["round"]) == ("configuration", 4), "a check that can't be run met nothing"
    assert [c["status"] for c in blocked["criteria"]] == ["met", "cannot_tell"]
    kept = {k: blocked["criteria"][0][k] for k in ("id", "text", "check")}
    client.amend(goal, {"criteria": [kept], "note": "the validator isn't there; c1 is enough"})
    done = house.until(goal)
    assert (done["reason"], done["round"], done["contract_revision"]) == ("met", 4, 2)
    assert done["items"] == {"total": ROWS, "closed": ROWS}
    assert [(p["total"], p["open"]) for p in plans[:3]] == [(0, 0), (ROWS, len(LIARS)), (ROWS, 0)]
    rounds = client.rounds(goal)["items"]
    assert [r["subtasks"] for r in rounds] == [{"done": ROWS}, {"done": len(LIARS)}, {"done": len(SLOPPY)}, {"done": 1}]
    census = client.report(goal)["census"]
    assert census["subtasks"] == ROWS + 11 and census["items"] == {"total": ROWS, "closed": ROWS}
    assert census["critical_path_steps"] < census["steps"] / 10
    audit_events(house.events(goal))
    house.audit(goal)
