"""Outputs of DVC 2: their MD5s (``md5-dos2unix``) and their objects (``<cache>/ab/cdef…``).

DVC 2 hashed text files as if their lines ended as on Unix. DVC 3 keeps such an output as long as
its files are unchanged, and gives it MD5s of the bytes once they have changed
(``Output.update_legacy_hash_name``). Only the bytes that were staged count here, so this reads them
from the cache.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..._artifact.records import StagedArtifact
from ..._cache.object_store import ObjectStore
from ..._errors import CommitError
from ..._fs.file_io import remove_file
from ..._fs.kernel_copy import copy_file
from ..._workers.fairness import yield_gil
from .dvc_state import FILES_PER_YIELD

HASH_NAME = "md5-dos2unix"

# DVC reads a file in chunks of this many bytes, and looks at the start of each to tell whether the
# chunk is text.
_CHUNK_BYTES = 2**20
_START_BYTES = 512

Key = tuple[str, ...]


class LegacyOutputs:
    """Keeps unchanged outputs of DVC 2. The caller holds DVC's lock.

    Args:
        store: the cache, with the bytes of staged artifacts.
        cache_dir: the cache in the layout of DVC 2.
    """

    def __init__(self, store: ObjectStore, cache_dir: str) -> None:
        self._store = store
        self._legacy = ObjectStore(replace(store.layout, cache_dir=cache_dir), "legacy-")

    def keep(self, output: Any, staged: StagedArtifact) -> str | None:
        """Keep the hash of the output if the artifact is unchanged, and store its objects.

        Returns:
            The hash of the artifact. None: it has changed.
        """
        from dvc_data.hashfile.hash_info import HashInfo
        from dvc_data.hashfile.meta import Meta

        if not _may_keep(staged, self._store):
            return None
        hashes = self._hashes(staged)
        if staged.isdir:
            tree = _tree(hashes)
            md5: str = tree.oid
            meta = Meta(size=staged.size, nfiles=staged.nfiles, isdir=True)
        else:
            tree, md5 = None, hashes[()]
            meta = Meta(size=staged.size, isexec=staged.files[0].isexec)
        if md5 != output.hash_info.value:
            return None
        self._put(staged, hashes)
        if tree is not None:
            self._legacy.put(tree.as_bytes(), md5)
            self._legacy.sync_names([md5])
        output.hash_info, output.meta = HashInfo(HASH_NAME, md5), meta
        output.obj = output.files = None
        return md5

    def keep_inside(self, output: Any, staged: StagedArtifact, listing: Any) -> str:
        """Keep the directory ``output`` if the artifact in it is unchanged; return its hash.

        Args:
            output: the directory.
            staged: the artifact in it.
            listing: DVC's ``Tree`` of the directory.

        Raises:
            CommitError: it has changed. DVC refuses it too (``Output.apply``): one listing cannot
                have both kinds of MD5s.
        """
        path = staged.request.path
        above = tuple(os.path.relpath(path, output.fs_path).split(os.sep))
        listed = {
            key[len(above) :]: hash_info.value
            for key, _, hash_info in listing
            if key[: len(above)] == above
        }
        hashes = self._hashes(staged)
        if hashes != listed or not _may_keep(staged, self._store):
            raise CommitError(
                path,
                f"it has changed, and '{output.fs_path}' was tracked by DVC 2. A listing of DVC 2 "
                "cannot be changed in part. Log that directory once, then this path again.",
            )
        self._put(staged, hashes)
        return str(_tree(hashes).oid) if staged.isdir else hashes[()]

    def _hashes(self, staged: StagedArtifact) -> dict[Key, str]:
        """Return the MD5 of DVC 2 of each file."""
        hashes = {}
        for number, (key, file) in enumerate(staged.hashed_files):
            hashes[key] = legacy_md5(self._store.object_path(file.md5), file.md5, file.size)
            if number % FILES_PER_YIELD == 0:
                yield_gil()
        return hashes

    def _put(self, staged: StagedArtifact, hashes: Mapping[Key, str]) -> None:
        """Store each file that is not in the cache of DVC 2."""
        # Whatever its size: files that differ in line ends alone have one hash.
        missing = {
            md5 for md5 in hashes.values() if not os.access(self._legacy.object_path(md5), os.F_OK)
        }
        for key, file in staged.hashed_files:
            if hashes[key] not in missing:
                continue
            temp = self._legacy.temp_path()
            try:
                with open(self._store.object_path(file.md5), "rb") as source:
                    copy_file(source.fileno(), temp, yield_gil)
                self._legacy.publish(temp, hashes[key], file.size)
            finally:
                remove_file(temp)
            missing.discard(hashes[key])
            self._legacy.sync_names([hashes[key]])


def placeable(output: Any, staged: StagedArtifact, store: ObjectStore) -> StagedArtifact:
    """Return the artifact without symlinks to objects that its kept output does not name.

    ``dvc gc`` would remove those objects. The files that are in the workspace stay.
    """
    if output.hash_name == HASH_NAME and _makes_symlinks(store):
        return replace(staged, placement=None)
    return staged


def _may_keep(staged: StagedArtifact, store: ObjectStore) -> bool:
    """Return whether the artifact is complete in the workspace without symlinks to objects."""
    moves = () if staged.placement is None else staged.placement.moves
    in_place = not staged.request.copy and not any(move.if_free for move in moves)
    return in_place or not _makes_symlinks(store)


def _makes_symlinks(store: ObjectStore) -> bool:
    return store.layout.links[:1] == ("symlink",)


def legacy_md5(path: str, md5: str, size: int) -> str:
    """Return the MD5 that DVC 2 gave to a file.

    Args:
        path: the file.
        md5: the MD5 of its bytes.
        size: its size in bytes.
    """
    from dvc_data.hashfile.hash import file_md5
    from dvc_data.hashfile.istextfile import istextblock

    with open(path, "rb", buffering=0) as file:
        for offset in range(0, size, _CHUNK_BYTES):
            file.seek(offset)
            if istextblock(file.read(_START_BYTES)):
                break
        else:
            return md5  # no chunk is text
    return str(file_md5(path, name=HASH_NAME))


def _tree(hashes: Mapping[Key, str]) -> Any:
    """Return DVC's ``Tree`` with these files."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    tree = Tree()
    for key, md5 in hashes.items():
        tree.add(key, None, HashInfo(HASH_NAME, md5))
    tree.digest()
    tree.fs.remove(tree.path)  # DVC's memory file system lasts as long as the process
    return tree
