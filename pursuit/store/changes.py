"""What a person changes of a goal while it lives, as the fields that the script sets."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from pursuit.contract import Amendment, Contract, Frozen, Label, amend
from pursuit.models import Goal, Policy
from pursuit.store.replies import budget_fields


class NewBudget(Frozen):
    """Limits to be in force from now on; what isn't named stays."""

    rounds: int | None = Field(None, ge=1, le=1_000)
    steps: int | None = Field(None, ge=1, le=100_000)
    subagents: int | None = Field(None, ge=1, le=300)
    tokens: int | None = Field(None, ge=1)
    usd: float | None = Field(None, gt=0, le=1_000_000)
    wall_seconds: int | None = Field(None, ge=1)


class Change(Amendment):
    """An amendment of the contract, of the budget, of the policy or of the labels. What isn't named stays."""

    budget: NewBudget | None = None
    policy: Policy | None = None
    labels: dict[Label, Annotated[str, StringConstraints(max_length=200)]] | None = Field(None, max_length=20)

    @property
    def of_contract(self) -> bool:
        return any(part is not None for part in (self.criteria, self.constraints, self.boundaries)) or bool(self.note)


def amended(goal: Goal, change: Change) -> list[Any]:
    """The script's words: revision it is made from, fields, what sub-agents hear, the event. Raises ValueError."""
    contract = amend(goal.contract, change) if change.of_contract else goal.contract
    fields: dict[str, Any] = {"contract": contract.model_dump_json()}
    if change.budget:
        fields |= budget_fields(change.budget.model_dump(exclude_none=True))
    if change.policy:
        fields["policy"] = change.policy.model_dump_json()
    if change.labels is not None:
        fields["labels"] = json.dumps(change.labels)
    words = json.dumps({"text": announced(contract)}) if change.of_contract else ""
    said = {
        "revision": contract.revision,
        "note": change.note,
        "criteria": [f"{name} {c.text}" for name, c in contract.named()] if change.criteria else None,
        "changed": sorted(change.model_fields_set - {"note"}),
    }
    flat = [str(word) for pair in fields.items() for word in pair]
    return [goal.contract.revision, json.dumps(flat), words, json.dumps(said)]


def announced(contract: Contract) -> str:
    """What running sub-agents are told, so that they go on under the contract as it is now."""
    lines = [f"The goal's contract was amended; this is revision {contract.revision}."]
    lines += [f"- {name}: {criterion.text}" for name, criterion in contract.named()]
    lines += [f"Constraint: {text}" for text in contract.constraints]
    lines += [f"Nobody may write {path}" for path in contract.boundaries]
    lines += [f"Note: {text}" for text in contract.notes[-3:]]
    return "\n".join(lines)[:9_000]
