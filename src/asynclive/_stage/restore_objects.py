"""Stores objects again that ``dvc gc`` removed after they were staged and before their commit.

``dvc gc`` removes objects that no ``.dvc`` file names, and staging holds no lock. The bytes come
from a file that still has them: the copy at its temp path, the workspace file, or the source. They
are hashed while they are copied, so a file that has changed is found. Blocking and without DVC.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from logging import getLogger

from anyio import from_thread

from .._artifact.records import StagedArtifact
from .._cache.object_store import ObjectStore
from .._fs.file_io import READ, create, remove_file, write_all

logger = getLogger(__name__)

# Bytes of files that one hop to a thread restores, unless one file has more.
_BYTES_AT_A_TIME = 8 * 2**20
# A file of any size, empty ones too, counts as this many bytes at least.
_LEAST_BYTES = 2**16
_CHUNK_BYTES = 2**20


def restoring_steps(
    staged: StagedArtifact, missing: set[str], store: ObjectStore
) -> Iterator[Callable[[], bool]]:
    """Return steps for worker threads, which may run in any order.

    Each returns whether its objects are in the cache again.

    Args:
        staged: the artifact, with its temp paths.
        missing: the MD5s of its objects that were removed.
        store: the cache.
    """
    logger.info(
        "%d objects of '%s' were removed from the cache before it was tracked, as 'dvc gc' does. "
        "They are stored again.",
        len(missing),
        staged.request.path,
    )
    places: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    paths_of = _Places(staged)
    for key, file in staged.hashed_files:
        if file.md5 in missing:
            places.setdefault(file.md5, []).extend(paths_of(key))
            sizes[file.md5] = file.size
    batch: list[str] = []
    batch_bytes = 0
    for md5, size in sizes.items():
        batch.append(md5)
        batch_bytes += max(size, _LEAST_BYTES)
        if batch_bytes >= _BYTES_AT_A_TIME:
            yield partial(_restore, {md5: places[md5] for md5 in batch}, sizes, store)
            batch, batch_bytes = [], 0
    if batch:
        yield partial(_restore, {md5: places[md5] for md5 in batch}, sizes, store)


class _Places:
    """The paths at which a file of the artifact may be, those that only we write to first."""

    def __init__(self, staged: StagedArtifact) -> None:
        self._request = staged.request
        moves = () if staged.placement is None else staged.placement.moves
        self._temp_paths = {move.destination: move.source for move in moves}

    def __call__(self, key: tuple[str, ...]) -> list[str]:
        roots = (
            self._temp_paths.get(self._request.path),  # of the copy, or of a moved source
            self._request.path,
            self._request.source,
        )
        paths = [os.sep.join((root, *key)) for root in roots if root is not None]
        temp_path = self._temp_paths.get(os.sep.join((self._request.path, *key)))
        return paths if temp_path is None else [temp_path, *paths]


def _restore(places: dict[str, list[str]], sizes: dict[str, int], store: ObjectStore) -> bool:
    restored = [
        any(_restore_from(path, md5, sizes[md5], store) for path in dict.fromkeys(paths))
        for md5, paths in places.items()
    ]
    # With durable=True, the names too.
    store.sync_names(places)
    return all(restored)


def _restore_from(path: str, md5: str, size: int, store: ObjectStore) -> bool:
    """Store the bytes of a file if their hash is ``md5``; return whether it is."""
    from_thread.check_cancelled()
    try:
        fd = os.open(path, READ)
    except OSError:
        return False  # it was removed, or is a link to the object
    temp = store.temp_path()
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            return False
        if _copy_and_hash(fd, temp) != md5:
            return False
        store.publish(temp, md5, size)
        return True
    finally:
        os.close(fd)
        remove_file(temp)


def _copy_and_hash(fd: int, temp: str) -> str:
    """Copy an open file to a new one; return the MD5 of the bytes that were written."""
    digest = hashlib.md5(usedforsecurity=False)
    temp_fd = create(temp)
    try:
        while data := os.read(fd, _CHUNK_BYTES):
            from_thread.check_cancelled()
            write_all(temp_fd, data)
            digest.update(data)
    finally:
        os.close(temp_fd)
    return digest.hexdigest()
