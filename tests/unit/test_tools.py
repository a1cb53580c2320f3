"""The tools, each on real files, a real command, a real page."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from icalendar import Calendar
from openpyxl import load_workbook

from pursuit.blobs import Blobs
from pursuit.models import Input, JobRef
from tests.servers import free_port
from worker.files.workspace import Workspace
from worker.tools import Toolbox, ToolContext, standard_tools
from worker.tools.registry import NeedsAnswer, cut
from worker.tools.sandbox import Sandbox


class Bench:
    """A toolbox on a workspace, called as a model would."""

    def __init__(self, folder: Path, *, private: bool = False) -> None:
        source = folder / "source"
        source.mkdir()
        self.workspace = Workspace(
            folder / "work",
            [Input(path=str(source), name="in")],
            layer=folder / "layer",
            blobs=Blobs(folder / "blobs"),
        )
        self.workspace.prepare()
        self.source, self.root = source, folder / "layer"
        self.answers: dict[str, str] = {}
        context = ToolContext(
            ref=JobRef(goal="goal_01", job="r1-001"),
            workspace=self.workspace,
            write_scope=("out",),
            answer_to=self._answer,
            fetch_private=private,
            sandbox=Sandbox("none"),
        )
        self.box = Toolbox(standard_tools(commands=True), context)

    async def _answer(self, question: str) -> str | None:
        return self.answers.get(question)

    async def ok(self, tool: str, **arguments: Any) -> Any:
        worked, text, _ = await self.box.run(tool, json.dumps(arguments), "key")
        assert worked, text
        return json.loads(text) if text.startswith("{") else text

    async def refused(self, tool: str, **arguments: Any) -> str:
        worked, text, _ = await self.box.run(tool, json.dumps(arguments), "key")
        assert not worked, text
        return text


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_files_are_listed_read_searched_and_written(bench: Bench) -> None:
    (bench.source / "a.txt").write_text("alpha\nbeta\n")
    (bench.source / "deep").mkdir()
    (bench.source / "deep" / "b.txt").write_text("gamma beta")
    listed = await bench.ok("list_files", pattern="inputs/in/**/*")
    assert [f["path"] for f in listed["files"]] == ["inputs/in/a.txt", "inputs/in/deep/b.txt"]
    assert (await bench.ok("list_files", pattern="inputs/in/*", folders=True))["files"] == [{"path": "inputs/in/deep"}]
    assert (await bench.ok("read_file", path="inputs/in/a.txt", limit=5)) == {
        "text": "alpha",
        "characters": 11,
        "next": 5,
    }
    found = await bench.ok("search_files", expression=r"\bbeta\b", pattern="inputs/in/**/*.txt")
    assert [(m["path"], m["line"]) for m in found["matches"]] == [("inputs/in/a.txt", 2), ("inputs/in/deep/b.txt", 1)]
    await bench.ok("write_file", path="out/c.md", content="delta")
    assert (bench.root / "out" / "c.md").read_text() == "delta"
    assert "write scope" in await bench.refused("write_file", path="c.md", content="x")
    assert "no file" in await bench.refused("read_file", path="inputs/in/none.txt")
    assert "can't be compiled" in await bench.refused("search_files", expression="(")
    assert "failed: ValueError" in await bench.refused("list_files", pattern="**.md")


async def test_an_expression_that_would_take_for_ever_is_stopped(bench: Bench) -> None:
    (bench.source / "a.txt").write_text("a" * 200 + "!")
    evil = await bench.refused("search_files", expression=r"^(a|aa)+$", pattern="inputs/in/*")
    assert "takes too long" in evil


async def test_many_files_are_read_page_by_page(bench: Bench) -> None:
    for n in range(5):
        (bench.source / f"{n}.txt").write_text(str(n) * 40_000)
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = await bench.ok("read_files", pattern="inputs/in/*.txt", after=after)
        seen += [file["path"] for file in page["files"]]
        after = page["next"]
    assert seen == [f"inputs/in/{n}.txt" for n in range(5)]


async def test_hashes_are_checked_from_sha256sum_and_from_a_record(bench: Bench) -> None:
    (bench.source / "same").write_text("same")
    (bench.source / "changed").write_text("before")
    (bench.source / "gone").write_text("gone")
    sums = subprocess.run(["sha256sum", "same", "changed", "gone"], cwd=bench.source, capture_output=True, text=True)
    (bench.source / "SUMS").write_text(sums.stdout)
    (bench.source / "changed").write_text("after")
    (bench.source / "gone").unlink()
    found = await bench.ok("check_hashes", path="inputs/in/SUMS")
    assert found == {"checked": 2, "changed": ["changed"], "missing": ["gone"], "outside": 0}
    info = bench.source / "x-1.dist-info"
    info.mkdir()
    good = base64.urlsafe_b64encode(hashlib.sha256(b"same").digest()).rstrip(b"=").decode()
    record = f"same,sha256={good},4\nchanged,sha256={good},4\n../../../out,sha256={good},1\nx-1.dist-info/RECORD,,\n"
    (info / "RECORD").write_text(record)
    found = await bench.ok("check_hashes", path="inputs/in/x-1.dist-info/RECORD")
    assert (found["checked"], found["changed"], found["outside"]) == (2, ["changed"], 1)


async def test_a_spreadsheet_holds_plain_values_whatever_they_look_like(bench: Bench) -> None:
    rows = [["=1+1", 2.5], ["+cmd|' /C calc'!A0", None], ["@x", True], ["ok\x07", 7]]
    sheet = {"title": "data", "header": ["what", "value"], "rows": rows}
    await bench.ok("write_spreadsheet", path="out/a.xlsx", sheets=[sheet])
    page = load_workbook(bench.root / "out" / "a.xlsx")["data"]
    assert [tuple(row) for row in page.values][1:] == [("=1+1", 2.5), (rows[1][0], None), ("@x", True), ("ok", 7)]
    assert all(cell.data_type != "f" for row in page.iter_rows() for cell in row)
    wrong = {"title": "data", "header": ["a"], "rows": [[1, 2]]}
    assert "row 1" in await bench.refused("write_spreadsheet", path="out/b.xlsx", sheets=[wrong])
    assert "pattern" in await bench.refused("write_spreadsheet", path="out/b.csv", sheets=[sheet])


async def test_an_invitation_parses(bench: Bench) -> None:
    await bench.ok(
        "write_invitation", path="out/a.ics", title="Review; bring, \\ all\nof it", start="2026-12-01T10:00:00+01:00"
    )
    (event,) = Calendar.from_ical((bench.root / "out" / "a.ics").read_bytes()).walk("VEVENT")
    assert event.decoded("dtstart").isoformat() == "2026-12-01T09:00:00+00:00"
    assert str(event["summary"]) == "Review; bring, \\ all\nof it"
    assert "timezone" in await bench.refused(
        "write_invitation", path="out/b.ics", title="x", start="2026-12-01T10:00:00"
    )


async def test_a_command_runs_bare_and_leaves_nothing_behind(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONSHOT_API_KEY", "sk-secret")
    shown = await bench.ok("run_command", command="pwd; env; exit 3")
    assert shown["code"] == 3 and str(bench.root) in shown["output"] and "sk-secret" not in shown["output"]
    began = asyncio.get_running_loop().time()
    late = await bench.ok("run_command", command="sleep 37 & sleep 37", timeout_seconds=1)
    assert late["code"] is None and "stopped after 1 seconds" in late["output"]
    assert asyncio.get_running_loop().time() - began < 5
    await asyncio.sleep(0.2)
    assert subprocess.run(["pgrep", "-f", "sleep 37"], capture_output=True).stdout == b""


def test_commands_are_off_unless_allowed() -> None:
    assert "run_command" not in standard_tools(commands=False)


async def test_asking_parks_and_the_answer_comes_back_under_the_same_id(bench: Bench) -> None:
    with pytest.raises(NeedsAnswer) as asked:
        await bench.ok("ask_person", question="Which year?")
    bench.answers[asked.value.question] = "2025"
    assert await bench.ok("ask_person", question="Which year?") == "2025"


@pytest.fixture
async def site() -> Any:
    """A little web site on loopback."""

    async def page(_: web.Request) -> web.Response:
        text = "High water is at nine, low water at three, and the ferry sails between them. " * 5
        rows = "<table><tr><th>port</th><th>height</th></tr><tr><td>Dover</td><td>6.7 m</td></tr></table>"
        article = f"<main><article><h1>Tides</h1><p>{text}</p>{rows}<p>{text}</p></article></main>"
        html = f"<html><body><nav><ul><li><a href='/'>menu</a></li></ul></nav>{article}</body></html>"
        return web.Response(text=html, content_type="text/html")

    async def away(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data")

    async def binary(_: web.Request) -> web.Response:
        return web.Response(body=b"\x00", content_type="application/octet-stream")

    async def huge(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 21_000_000, content_type="text/plain")

    async def paper(_: web.Request) -> web.Response:
        return web.Response(body=pdf("Neap tides are small"), content_type="application/pdf")

    async def broken(_: web.Request) -> web.Response:
        return web.Response(body=b"%PDF-1.4 no more", content_type="application/pdf")

    async def found(request: web.Request) -> web.Response:
        keys = {name: request.headers.get(name) for name in ("Authorization", "X-Subscription-Token")}
        sent = await request.json() if request.can_read_body else dict(request.query)
        asked = sent.get("q") or sent.get("query")
        row = {"title": f"about {asked}", "url": "https://example.org/", "content": str(keys), "description": str(keys)}
        return web.json_response({"results": [row] * 30, "web": {"results": [row] * 30}})

    app = web.Application()
    app.router.add_get("/search", found)
    app.router.add_post("/search", found)
    app.router.add_get("/res/v1/web/search", found)
    app.router.add_get("/paper", paper)
    app.router.add_get("/broken", broken)
    app.router.add_get("/page", page)
    app.router.add_get("/away", away)
    app.router.add_get("/binary", binary)
    app.router.add_get("/huge", huge)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


async def test_a_page_is_fetched_as_text(tmp_path: Path, site: str) -> None:
    bench = Bench(tmp_path, private=True)
    page = await bench.ok("fetch_page", url=f"{site}/page")
    assert "High water is at nine" in page["text"] and "menu" not in page["text"]
    assert "Dover" in page["text"], "tables stay"
    assert "not text" in await bench.refused("fetch_page", url=f"{site}/binary")
    assert "larger than" in await bench.refused("fetch_page", url=f"{site}/huge")
    assert "404" in await bench.refused("fetch_page", url=f"{site}/none")


def pdf(text: str) -> bytes:
    """The smallest PDF with a line of text."""
    stream = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
    ]
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer << /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % len(body)
    return body + b"xref\n0 5\n0000000000 65535 f \n" + table + end


async def test_a_pdf_is_fetched_as_text(tmp_path: Path, site: str) -> None:
    bench = Bench(tmp_path, private=True)
    page = await bench.ok("fetch_page", url=f"{site}/paper")
    assert "[page 1]" in page["text"] and "Neap tides are small" in page["text"]
    assert "can't be read" in await bench.refused("fetch_page", url=f"{site}/broken")


async def test_a_goal_may_name_the_hosts_it_reaches(tmp_path: Path, site: str) -> None:
    bench = Bench(tmp_path, private=True)
    narrow = replace(bench.box._context, network_allow=("*.example.org", "127.0.0.2"))
    box = Toolbox(standard_tools(commands=False), narrow)
    worked, text, _ = await box.run("fetch_page", json.dumps({"url": f"{site}/page"}), "k")
    assert not worked and "isn't among the hosts" in text


@pytest.mark.parametrize("name", ["searxng", "tavily", "brave"])
async def test_the_web_is_searched(tmp_path: Path, site: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAVILY_API_KEY", "t-key")
    monkeypatch.setenv("BRAVE_API_KEY", "b-key")
    box = Toolbox(standard_tools(commands=False, search=f"{name}:{site}"), Bench(tmp_path).box._context)
    worked, text, _ = await box.run("search_web", json.dumps({"query": "tides", "results": 3}), "k")
    assert worked, text
    hits = json.loads(text)["results"]
    assert [hit["title"] for hit in hits] == ["about tides"] * 3
    key = {"searxng": "None", "tavily": "Bearer t-key", "brave": "b-key"}[name]
    assert key in hits[0]["text"]


async def test_a_search_that_fails_says_so(tmp_path: Path, site: str) -> None:
    box = Toolbox(standard_tools(commands=False, search=f"searxng:{site}/nowhere"), Bench(tmp_path).box._context)
    worked, text, _ = await box.run("search_web", json.dumps({"query": "tides"}), "k")
    assert not worked and "404" in text


@pytest.mark.parametrize("setting", ["searxng", "tavily", "altavista"])
def test_a_search_provider_that_cannot_be_had_says_what_to_set(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAVILY_API_KEY", raising=False)
    with pytest.raises(ValueError, match=r"PURSUIT_SEARCH|TAVILY_API_KEY"):
        standard_tools(commands=False, search=setting)


async def test_plain_functions_become_tools_that_are_never_repeated_by_themselves(tmp_path: Path) -> None:
    tools = standard_tools(commands=False, more=["tests.letters:send_letter", "tests.letters:ask_registry"])
    letter = tools["send_letter"]
    assert letter.effect == "at_most_once" and "Nothing brings it back" in letter.description
    assert letter.schema["function"]["parameters"]["properties"]["text"]["maxLength"] == 1000
    assert tools["ask_registry"].effect == "read"
    box = Toolbox(tools, Bench(tmp_path).box._context)
    assert "text" in (await box.run("send_letter", '{"to": "x"}', "k"))[1]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("tests.letters", "package.module:name"),
        ("tests.nowhere:x", "No module"),
        ("tests.letters:nothing", "no attribute"),
        ("os:sep", "neither a tool nor a function"),
        ("os.path:join", "each parameter needs a type"),
    ],
)
def test_a_tool_that_cannot_be_had_says_why(path: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        standard_tools(commands=False, more=[path])


async def test_a_cut_result_can_be_read_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    kept: dict[str, str] = {}

    def keep(text: str) -> str:
        kept["a" * 64] = text
        return "a" * 64

    (bench.root / "long.txt").write_text("".join(f"{n}\n" for n in range(5_000)))
    context = replace(bench.box._context, keep=keep, kept=kept.__getitem__)
    box = Toolbox(standard_tools(commands=False), context, most=2_000)
    worked, text, _ = await box.run("read_file", '{"path": "long.txt"}', "k")
    assert worked and len(text) < 2_300 and 'read_output(output="aaaa' in text
    worked, text, _ = await box.run("read_output", json.dumps({"output": "a" * 64, "offset": 10_000}), "k")
    assert worked and json.loads(text)["text"] == kept["a" * 64][10_000:11_000]
    assert json.loads(text)["next"] == 11_000
    assert not (await box.run("read_output", json.dumps({"output": "b" * 64}), "k"))[0]


async def test_a_passage_is_replaced_once(bench: Bench) -> None:
    await bench.ok("write_file", path="out/a.md", content="one two three")
    await bench.ok("edit_file", path="out/a.md", old="two", new="2")
    assert (bench.root / "out/a.md").read_text() == "one 2 three"
    await bench.ok("edit_file", path="out/a.md", old="two", new="2")  # the same call again, after a crash
    assert (bench.root / "out/a.md").read_text() == "one 2 three"
    assert "0 times" in await bench.refused("edit_file", path="out/a.md", old="four", new="4")
    assert "outside your write scope" in await bench.refused("edit_file", path="b.md", old="x", new="y")


async def test_private_addresses_are_not_fetched(bench: Bench, site: str) -> None:
    for url in (
        site,
        "http://localhost:1/x",
        "http://[::1]/",
        "http://169.254.169.254/",
        "http://10.0.0.1/",
        "http://0/",
    ):
        assert "not a public address" in await bench.refused("fetch_page", url=url)
    assert "http" in await bench.refused("fetch_page", url="file:///etc/passwd")
    assert "password" in await bench.refused("fetch_page", url="http://a:b@example.org/")


def test_long_results_lose_their_middle() -> None:
    text = cut("a" * 500 + "b" * 500, 100)
    assert text.startswith("a" * 50 + "\n") and text.endswith("\n" + "b" * 50) and "900 characters cut" in text
