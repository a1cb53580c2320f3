"""Liveness, readiness, and who this is."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel

from api.state import Here
from pursuit import __version__
from pursuit.errors import StoreUnavailable

router = APIRouter(tags=["system"])


class Health(BaseModel):
    """The process is alive."""

    status: str
    version: str
    model: str


@router.get("/healthz", response_model=Health)
async def healthz(request: Request) -> Health:
    """Alive; depends on nothing else."""
    return Health(status="ok", version=__version__, model=request.app.state.pursuit.model)


@router.get("/readyz", response_model=Health)
async def readyz(here: Here) -> Health:
    """Ready to serve: Redis answers and the server isn't closing."""
    await here.store.ping()
    if here.closing.is_set():
        raise StoreUnavailable("the server is closing")
    return Health(status="ready", version=__version__, model=here.model)
