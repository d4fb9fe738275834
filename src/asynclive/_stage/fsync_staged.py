"""durable=True: brings a staged artifact onto the disk before it may be committed.

The bytes of new objects are on the disk already: they were synced before the objects got their
names. This syncs those names, the objects of an unchanged artifact, which another program may have
written, and the files that the workspace gets. Blocking and without DVC.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice

from anyio import from_thread

from .._artifact.plan import ArtifactPlan
from .._artifact.records import StagedArtifact
from .._cache.object_store import ObjectStore

Step = Callable[[], None]

# Paths that one hop to a thread syncs. Cancellation is also checked before each path.
_AT_A_TIME = 16


def sync_rounds(
    plan: ArtifactPlan, staged: StagedArtifact, store: ObjectStore
) -> Iterator[list[Step]]:
    """Return rounds of steps for worker threads.

    The steps of a round may run in any order. A round begins when the one before it has ended.

    Args:
        plan: the files and directories of the artifact.
        staged: the artifact as it was staged.
        store: the cache that holds its objects.
    """
    unchanged = staged.placement is None
    hashes = {*staged.object_sizes}
    if staged.tree_md5 is not None:
        hashes.add(staged.tree_md5)
    objects = map(store.object_path, sorted(hashes)) if unchanged else ()
    files, dirs = _workspace_paths(plan, staged)
    sync = store.layout.sync
    yield list(_steps(partial(_each, sync.file), chain(objects, files)))
    by_directory = sorted({md5[:2]: md5 for md5 in hashes}.values())
    yield [
        *_steps(partial(_each, sync.directory), dirs),
        *_steps(store.sync_names, by_directory),
    ]


def _workspace_paths(
    plan: ArtifactPlan, staged: StagedArtifact
) -> tuple[Iterator[str], Iterator[str]]:
    """Return the files and directories of the copy, or else the files that replace sources."""
    moves = () if staged.placement is None else staged.placement.moves
    if not plan.request.copy:
        return (move.source for move in moves), iter(())
    # A copy has one move: that of the copy itself. An unchanged copy is in its place.
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
