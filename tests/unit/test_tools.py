"""The tools, each on real files, a real command, a real page."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from icalendar import Calendar
from openpyxl import load_workbook

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
        self.workspace = Workspace(folder / "work", [Input(path=str(source), name="in")])
        self.workspace.prepare()
        self.source, self.root = source, folder / "work"
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
        worked, text = await self.box.run(tool, json.dumps(arguments), "key")
        assert worked, text
        return json.loads(text) if text.startswith("{") else text

    async def refused(self, tool: str, **arguments: Any) -> str:
        worked, text = await self.box.run(tool, json.dumps(arguments), "key")
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
        return web.Response(body=b"x" * 6_000_000, content_type="text/plain")

    app = web.Application()
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
