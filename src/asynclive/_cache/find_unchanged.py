"""Finds an artifact unchanged since it was logged: all of it in the cache and in its place.

Nothing of it needs to be read or written then. Blocking and without DVC.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable

from .._artifact.plan import ArtifactPlan, PlannedFile
from .._artifact.records import StagedArtifact
from .cache_layout import CacheLayout
from .hash_cache import HashCacheEntry
from .link_types import leaves_plain_files
from .object_store import ObjectStore

_CHECKED_FILES = 64


def find_unchanged(
    plan: ArtifactPlan, known: HashCacheEntry, store: ObjectStore, checkpoint: Callable[[], None]
) -> StagedArtifact | None:
    """The artifact as it was staged before, if logging it again would change nothing.

    Args:
        plan: what it holds now.
        known: what it held when it was logged last.
        store: where its objects have to be.
        checkpoint: called once some files; raises to stop.
    """
    request = plan.request
    if len(known.files) != len(plan.files) or not leaves_plain_files(store.layout, plan.isdir):
        return None
    if plan.isdir and not (known.tree_md5 and os.path.exists(store.object_path(known.tree_md5))):
        return None
    stored = []
    for number, planned in enumerate(plan.files):
        if number % _CHECKED_FILES == 0:
            checkpoint()
        same = known.lookup(planned)
        if same is None or not store.has(same.md5, planned.size):
            return None
        if request.copy:
            there = _lstat(os.sep.join((request.path, *planned.key)))
            if (
                there is None
                or there.st_mode != stat.S_IFREG | _copy_mode(planned, plan.isdir, store.layout)
                or there.st_size != planned.size
                or (there.st_ino, there.st_mtime_ns) != (same.tracked_inode, same.tracked_mtime_ns)
            ):
                return None
        elif planned.islink or planned.nlink > 1:  # DVC may make them anew
            return None
        if not plan.isdir:
            stored.append(known.stored_file(planned))
    if request.copy and not _same_directories(plan):
        return None
    return StagedArtifact(
        request=request,
        isdir=plan.isdir,
        size=plan.total_bytes,
        nfiles=len(plan.files),
        files=tuple(stored),
        tree_md5=known.tree_md5,
    )


def _copy_mode(planned: PlannedFile, isdir: bool, layout: CacheLayout) -> int:
    """With what permissions a copy is left."""
    if isdir or not layout.links:
        return planned.mode
    return layout.copy_mode | (0o100 if planned.mode & 0o111 else 0)


def _same_directories(plan: ArtifactPlan) -> bool:
    """Whether the copy holds the same names as its source, and no others."""
    names: dict[tuple[str, ...], set[str]] = {directory.key: set() for directory in plan.dirs}
    for key in itertools.chain((one.key for one in plan.dirs), (one.key for one in plan.files)):
        if key:
            names[key[:-1]].add(key[-1])
    for directory in plan.dirs:
        path = os.sep.join((plan.request.path, *directory.key))
        there = _lstat(path)
        if (
            there is None
            or there.st_mode != stat.S_IFDIR | directory.mode
            or there.st_mtime_ns != directory.mtime_ns
            or set(os.listdir(path)) != names[directory.key]
        ):
            return False
    return True


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
