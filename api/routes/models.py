"""Which models goals can be given, who pays for them and how their accounts stand."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from api.state import Here
from config.endpoints import check
from config.models import Prices, Profile
from config.settings import Settings
from pursuit.contract import Frozen
from pursuit.errors import InvalidField
from pursuit.store import AccountState

router = APIRouter(tags=["models"])


class ModelView(Frozen):
    """A model as a goal can name it. No key is ever shown."""

    name: str
    model: str
    base_url: str
    payer: str
    roles: tuple[str, ...] = Field(description="planner, subagent, verifier: what it does unless a goal says otherwise")
    window: int = Field(description="tokens of context")
    prices: Prices | None = Field(
        description="in dollars per million tokens; none: not known, no dollar budget is kept"
    )
    limits: AccountState


class ModelsPage(Frozen):
    items: list[ModelView]


class Check(Frozen):
    """The model to ask."""

    name: Annotated[str, Field(max_length=200, description="a profile or provider:model; empty: the server's own")] = ""


class CheckView(Frozen):
    """What came of one small, real tool call."""

    ok: bool
    text: str
    payer: str
    window: int | None = None


@router.get("/models", response_model=ModelsPage)
async def models(here: Here) -> ModelsPage:
    """The models of this server: those that work by role, and the profiles that goals can name."""
    found: dict[str, tuple[Profile, list[str]]] = {}
    for role in ("planner", "subagent", "verifier"):
        profile = _profile(here.settings, "", role)
        found.setdefault(profile.name, (profile, []))[1].append(role)
    for name in here.settings.profiles:
        found.setdefault(name, (_profile(here.settings, name), []))
    return ModelsPage(
        items=[
            ModelView(
                name=name,
                model=profile.model,
                base_url=profile.base_url,
                payer=profile.payer,
                roles=tuple(roles),
                window=profile.window,
                prices=profile.prices,
                limits=await here.store.limits.state(profile.account),
            )
            for name, (profile, roles) in found.items()
        ]
    )


@router.post("/models/check", response_model=CheckView)
async def check_model(here: Here, body: Check) -> CheckView:
    """Asks a model to call a tool, for real: it costs a few tokens of the account that the answer names."""
    profile = _profile(here.settings, body.name)
    if profile.rehearsal:
        return CheckView(ok=True, text="rehearsal needs no endpoint", payer=profile.payer, window=profile.window)
    checked = await asyncio.to_thread(check, profile)
    return CheckView(ok=checked.ok, text=checked.text, payer=profile.payer, window=checked.window)


def _profile(settings: Settings, name: str, role: str = "subagent") -> Profile:
    try:
        return settings.profile(name, role)
    except ValueError as error:
        raise InvalidField(
            str(error), action="Name a profile of pursuit.toml, or provider:model with its key set."
        ) from error
