"""Tell whether an artifact is unchanged since it was logged: same files, objects and copy.

Logging it then reads and writes no file. Blocks; no DVC.
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
from .hash_cache_file import CachedHash
from .link_types import leaves_plain_files
from .object_store import ObjectStore

_FILES_PER_CHECKPOINT = 64


def find_unchanged(
    plan: ArtifactPlan, known: HashCacheEntry, store: ObjectStore, checkpoint: Callable[[], None]
) -> StagedArtifact | None:
    """Return the staged artifact if logging it again would change nothing, else None.

    Args:
        plan: the files of the artifact now.
        known: its cached hashes, from when it was last logged.
        store: the cache, which must have its objects.
        checkpoint: called for every few files; raises to stop.
    """
    request = plan.request
    if len(known.files) != len(plan.files) or not leaves_plain_files(store.layout, plan.isdir):
        return None
    if plan.isdir and not (known.tree_md5 and os.path.exists(store.object_path(known.tree_md5))):
        return None
    stored = []
    for number, planned in enumerate(plan.files):
        if number % _FILES_PER_CHECKPOINT == 0:
            checkpoint()
        # A file that is ignored now may have been stored before.
        same = known.lookup(planned) if planned.tracked else None
        if same is None or not store.has(same.md5, planned.size, checkpoint):
            return None
        if request.copy:
            path = os.sep.join((request.path, *planned.key))
            if not _is_same_copy(
                path, planned, same, _copy_mode(planned, plan.isdir, store.layout)
            ):
                return None
        elif planned.islink or planned.nlink > 1:  # DVC may relink it
            return None
        if not plan.isdir:
            stored.append(known.stored_file(planned))
    if request.copy and not _are_same_directories(plan, store.layout.keeps_modes):
        return None
    return StagedArtifact(
        request=request,
        isdir=plan.isdir,
        size=plan.total_bytes,
        nfiles=len(plan.files),
        files=tuple(stored),
        tree_md5=known.tree_md5,
        unchanged=known.files if plan.isdir else {},
    )


def _copy_mode(planned: PlannedFile, isdir: bool, layout: CacheLayout) -> int | None:
    """Return the permissions that DVC leaves a copied file with; None: the disk chooses them."""
    if not layout.keeps_modes:
        return None
    if isdir or not layout.links:
        return planned.mode
    return layout.copy_mode | (0o100 if planned.mode & 0o111 else 0)


def _is_same_copy(path: str, planned: PlannedFile, known: CachedHash, mode: int | None) -> bool:
    """Return whether the copy of a file is the one that was tracked, with these permissions."""
    copy = _lstat(path)
    return (
        copy is not None
        and stat.S_ISREG(copy.st_mode)
        and mode in (None, stat.S_IMODE(copy.st_mode))
        and copy.st_size == planned.size
        and (copy.st_ino, copy.st_mtime_ns) == (known.tracked_inode, known.tracked_mtime_ns)
    )


def _are_same_directories(plan: ArtifactPlan, keeps_modes: bool) -> bool:
    """Return whether the directories of the copy have the names, modes and mtimes of the source."""
    names: dict[tuple[str, ...], set[str]] = {directory.key: set() for directory in plan.dirs}
    for key in itertools.chain((one.key for one in plan.dirs), (one.key for one in plan.files)):
        if key:
            names[key[:-1]].add(key[-1])
    for directory in plan.dirs:
        path = os.sep.join((plan.request.path, *directory.key))
        copy = _lstat(path)
        if (
            copy is None
            or not stat.S_ISDIR(copy.st_mode)
            or (keeps_modes and stat.S_IMODE(copy.st_mode) != directory.mode)
            or copy.st_mtime_ns != directory.mtime_ns
            or set(os.listdir(path)) != names[directory.key]
        ):
            return False
    return True


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
