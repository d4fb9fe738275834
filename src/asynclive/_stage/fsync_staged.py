"""What of a staged artifact has to be on the disk before it may be committed, where that is wanted.

New objects are there already: their bytes went first, then they got their names. What is left are
those names, the objects of an artifact that was found unchanged, whoever wrote them, and what is
to stand in the workspace. Blocking and without DVC.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice

from anyio import from_thread

from .._artifact.plan import ArtifactPlan
from .._artifact.records import StagedArtifact
from .._cache.hash_cache import HashCacheEntry
from .._cache.object_store import ObjectStore

Step = Callable[[], None]

# So many a hop to a thread, between two of which is looked for cancellation.
_AT_A_TIME = 16


def sync_rounds(
    plan: ArtifactPlan, staged: StagedArtifact, known: HashCacheEntry, store: ObjectStore
) -> Iterator[list[Step]]:
    """Steps for worker threads; those of a round in any order, one round after the other.

    Args:
        plan: what the artifact holds.
        staged: what came of it.
        known: what it held when it was logged last: its objects, where it is unchanged.
        store: where they are.
    """
    unchanged = staged.placement is None
    hashes = {file.md5 for file in (known.files.values() if unchanged else staged.files)}
    if staged.tree_md5 is not None:
        hashes.add(staged.tree_md5)
    objects = map(store.object_path, sorted(hashes)) if unchanged else ()
    files, dirs = _workspace(plan, staged)
    sync = store.layout.sync
    yield list(_steps(partial(_each, sync.file), chain(objects, files)))
    by_directory = sorted({md5[:2]: md5 for md5 in hashes}.values())
    yield [
        *_steps(partial(_each, sync.directory), dirs),
        *_steps(store.sync_names, by_directory),
    ]


def _workspace(plan: ArtifactPlan, staged: StagedArtifact) -> tuple[Iterator[str], Iterator[str]]:
    """The files and directories of the copy, or the files made for places in the workspace."""
    moves = () if staged.placement is None else staged.placement.moves
    if not plan.request.copy:
        return (move.source for move in moves), iter(())
    # The copy itself is the one move there is. Unchanged, it is in its place.
    root = moves[-1].source if moves else plan.request.path
    return (
        (os.sep.join((root, *file.key)) for file in plan.files),
        (os.sep.join((root, *directory.key)) for directory in plan.dirs),
    )


def _steps(func: Callable[[list[str]], None], paths: Iterable[str]) -> Iterator[Step]:
    remaining = iter(paths)
    while some := list(islice(remaining, _AT_A_TIME)):
        yield partial(func, some)


def _each(func: Callable[[str], None], paths: list[str]) -> None:
    for path in paths:
        from_thread.check_cancelled()
        func(path)
