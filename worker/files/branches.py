"""A round's outcome as one commit, for each input that is a git repository."""

from __future__ import annotations

import asyncio

from pursuit.models import Goal
from pursuit.tree import Tree, read_list
from worker.files.imports import source_of
from worker.files.repository import Repository, below
from worker.files.workspace import OutsideWorkspace
from worker.runtime import Runtime


def branch_of(goal: str) -> str:
    return f"pursuit/{goal}"


async def commit_round(runtime: Runtime, goal: Goal, tree: Tree) -> list[str]:
    """Brings each repository's branch to this state; returns what stood in the way. May be repeated at any time."""
    if not goal.commits:
        return []
    record = await runtime.store.round(goal.id, goal.round)
    about = record.plan.approach if record.plan else ""
    return await asyncio.to_thread(_commit_all, runtime, goal, tree, about)


def _commit_all(runtime: Runtime, goal: Goal, tree: Tree, about: str) -> list[str]:
    imported = {file.path: file for file in read_list(runtime.blobs.text(goal.imported))}
    problems = []
    title = f"Round {goal.round}: {' '.join(about.split())[:100] or goal.contract.objective[:100]}"
    message = f"{title}\n\nPursuit-Goal: {goal.id}"
    for name, commit in goal.commits.items():
        try:
            repository = Repository(source_of(goal, name, runtime.settings.input_roots))
            repository.commit(
                branch_of(goal.id),
                commit,
                below(imported, name),
                below(tree, name),
                runtime.blobs,
                message,
                goal.round,
            )
        except OutsideWorkspace as error:
            problems.append(f"the branch {branch_of(goal.id)} of {name!r} could not be written: {error}")
    return problems
