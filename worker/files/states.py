"""Committed files as folders: each state of a goal is made once on a machine, out of links to blobs, and only read."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from pursuit.blobs import Blobs
from pursuit.models import Artifact, Goal
from pursuit.store import Store
from pursuit.tree import Tree, fingerprint, read_list, tree_of
from worker.files.workspace import place

#: states of a goal that stay on a machine; jobs of a round that is over may still read the one before
KEPT = 3
#: trees that a process remembers
REMEMBERED = 64
#: the version of goals from which on subtasks write layers; before, files were committed one by one
LAYERED = 3
#: seconds after which a folder that was never finished is somebody's who died
PART = 3_600.0


async def committed(store: Store, blobs: Blobs, goal: Goal, base: Sequence[Artifact] | None = None) -> Tree:
    """The files that a goal has committed. `base`: those it begins with, where they aren't recorded yet."""
    if base is None:
        base = read_list(blobs.text(goal.base)) if goal.base else ()
    return tree_of(base, await store.committed(goal.id))


class States:
    """The committed files of goals and their folders, each made ready once a process for all jobs of a round.

    What is committed changes with a verification only, so the round and the state at the last one name it.
    """

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store, self._blobs = store, blobs
        self._kept: OrderedDict[tuple[object, ...], asyncio.Task[tuple[Tree, Path]]] = OrderedDict()

    async def of(self, goal: Goal, states: Path) -> tuple[Tree, Path]:
        """The files, and a folder that holds them. Raises KeyError where a blob is gone."""
        if goal.version < LAYERED:
            return await self._load(goal, states)
        key = (goal.id, goal.round, goal.state, goal.base, goal.generation)
        task = self._kept.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() or not task.result()[1].is_dir())):
            task = self._kept[key] = asyncio.ensure_future(self._load(goal, states))
        self._kept.move_to_end(key)
        while len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)
        return await asyncio.shield(task)

    async def _load(self, goal: Goal, states: Path) -> tuple[Tree, Path]:
        tree = await committed(self._store, self._blobs, goal)
        return tree, await asyncio.to_thread(folder_of, tree, states, self._blobs)


def folder_of(tree: Tree, states: Path, blobs: Blobs) -> Path:
    """A folder that holds exactly these files; safe to call from several workers at once. Raises KeyError."""
    target = states / fingerprint(tree)
    if target.is_dir():
        target.touch()
        return target
    states.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=states, prefix="part-"))
    fill(part, tree, blobs, link=True)
    part.chmod(0o755)
    try:
        part.rename(target)
    except OSError:  # another was quicker
        shutil.rmtree(part, ignore_errors=True)
    _prune(states)
    return target


def fill(folder: Path, tree: Tree, blobs: Blobs, *, link: bool = False) -> None:
    """Puts all files of a tree into a folder. A link is the blob itself: only for folders that nobody writes to."""
    for path, file in tree.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        blob = blobs.path(file.sha256)
        if link and not file.executable:
            try:
                target.hardlink_to(blob)
                continue
            except OSError:  # another filesystem, or one without links
                pass
        place(blob, target, executable=file.executable)


def tidy(home: Path, before_round: int) -> None:
    """Removes what workers that died have left of a goal on this machine: layers of rounds before this, old copies."""
    left = []
    for layer in (home / "layers").glob("r*-*"):
        number = layer.name.partition("-")[0][1:]
        if number.isdigit() and int(number) < before_round:
            left.append(layer)
    for copy in (home / "checks").glob("check-*"):
        with contextlib.suppress(OSError):
            if copy.stat().st_mtime < time.time() - PART:
                left.append(copy)
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)


def _prune(states: Path) -> None:
    """Other workers may do the same just now, so anything may be gone already."""
    ages: dict[Path, float] = {}
    for path in states.iterdir():
        with contextlib.suppress(OSError):
            ages[path] = path.stat().st_mtime
    left_behind = [path for path, at in ages.items() if path.name.startswith("part-") and at < time.time() - PART]
    whole = sorted((path for path in ages if not path.name.startswith("part-")), key=ages.__getitem__, reverse=True)
    for path in (*whole[KEPT:], *left_behind):
        shutil.rmtree(path, ignore_errors=True)
