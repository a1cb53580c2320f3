"""Artifacts, the archive of all of them, and the report."""

from __future__ import annotations

import asyncio
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.background import BackgroundTask

from api.state import Here, State
from api.views import ArtifactPage
from pursuit.errors import NotFound
from pursuit.models import Artifact
from pursuit.report import Report, RoundOfWork, compile_report, markdown

router = APIRouter(tags=["results"])


@router.get("/goals/{goal}/artifacts", response_model=ArtifactPage)
async def list_artifacts(here: Here, goal: str) -> ArtifactPage:
    """The files that sub-agents wrote, with the round and subtask that made them."""
    await here.store.goal(goal)
    return ArtifactPage(items=await here.store.artifacts(goal))


@router.get("/goals/{goal}/artifacts/{path:path}", response_class=FileResponse)
async def download(here: Here, goal: str, path: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """One file, as its last subtask left it; ranges are served."""
    await here.store.goal(goal)
    found = {artifact.path: artifact for artifact in await here.store.artifacts(goal)}
    if path not in found:
        raise NotFound(f"this goal has no artifact {path[:200]!r}", action="See the list of its artifacts.")
    artifact = found[path]
    tag = f'"{artifact.sha256}"'
    if if_none_match == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return FileResponse(
        _blob(here, artifact),
        filename=path.rpartition("/")[2],
        media_type="application/octet-stream",
        headers={"ETag": tag, "X-Content-Type-Options": "nosniff"},
    )


@router.get("/goals/{goal}/archive.zip", response_class=FileResponse)
async def archive(here: Here, goal: str) -> Response:
    """All artifacts in one zip file."""
    await here.store.goal(goal)
    artifacts = await here.store.artifacts(goal)
    path = await asyncio.to_thread(_zip, here, artifacts)
    return FileResponse(
        path, filename=f"{goal}.zip", media_type="application/zip", background=BackgroundTask(path.unlink)
    )


def _zip(here: State, artifacts: list[Artifact]) -> Path:
    with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as whole:
            for artifact in artifacts:
                whole.write(_blob(here, artifact), artifact.path)
        return Path(file.name)


def _blob(here: State, artifact: Artifact) -> Path:
    try:
        return here.blobs.path(artifact.sha256)
    except KeyError as error:
        raise NotFound(
            f"the content of {artifact.path} isn't in this server's blob folder",
            action="Let API and workers share PURSUIT_DATA, or at least its blobs.",
        ) from error


@router.get("/goals/{goal}/report", response_model=Report)
async def report(
    here: Here,
    goal: str,
    form: Annotated[Literal["json", "markdown"] | None, Query(alias="format")] = None,
    accept: Annotated[str, Header()] = "",
) -> Report | Response:
    """What was met and by what evidence, what each subtask came to, what wasn't done, and what it took."""
    shown = await here.store.goal(goal)
    rounds = [
        RoundOfWork(
            record=await here.store.round(goal, number),
            jobs=await here.store.jobs(goal, number),
            digests=await here.store.digests(goal, number),
        )
        for number in range(1, shown.round + 1)
    ]
    whole = compile_report(shown, rounds, await here.store.artifacts(goal), here.model)
    if form == "markdown" or (form is None and "text/markdown" in accept):
        return PlainTextResponse(markdown(whole), media_type="text/markdown")
    return whole
