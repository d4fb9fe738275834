"""Stages the files of one artifact: bytes into the cache, and what the workspace gets of them.

Blocking, and without a look at the event loop: it runs in worker threads, and for directories
of very many small files in worker processes, to which it is sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from .._artifact.placement import Mode, Move
from .._artifact.plan import PlannedFile, check_unchanged
from .._artifact.records import StoredFile
from .._artifact.request import ArtifactRequest
from .._cache.hash_cache import HashCacheEntry
from .._cache.link_types import add_exec, leaves_plain_files, link_type, make_link
from .._cache.object_store import ObjectStore
from .._errors import ArtifactChangedError, ArtifactPathError, StorageError
from .._fs.change_detection import fingerprint_of
from .._fs.file_io import READ, write_new
from .._fs.paths import is_inside

T = TypeVar("T")

CHECKED_FILES = 16


@dataclass(slots=True)
class Batch:
    """What came of some files: their records, and what the workspace needs of them."""

    stored: list[StoredFile] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    modes: list[Mode] = field(default_factory=list)
    files_staged: int = 0
    bytes_staged: int = 0
    files_unchanged: int = 0
    bytes_unchanged: int = 0

    def count(self, planned: PlannedFile, *, unchanged: bool = False) -> None:
        if unchanged:
            self.files_unchanged += 1
            self.bytes_unchanged += planned.size
        else:
            self.files_staged += 1
            self.bytes_staged += planned.size

    def add(self, other: Batch) -> None:
        """Take in what came of other files."""
        self.stored += other.stored
        self.moves += other.moves
        self.modes += other.modes
        self.files_staged += other.files_staged
        self.bytes_staged += other.bytes_staged
        self.files_unchanged += other.files_unchanged
        self.bytes_unchanged += other.bytes_unchanged


@dataclass(slots=True)
class FileStager:
    """Stages files of one artifact, several at once."""

    request: ArtifactRequest
    isdir: bool
    store: ObjectStore
    beside: str
    """Where the copy is built; empty when there is none."""
    known: HashCacheEntry = field(default_factory=HashCacheEntry)
    made: list[str] = field(default_factory=list)
    """The files made for places in the workspace, each alone; empty where there is a copy."""
    moved_to: str | None = None
    """Where the source is by now, if it was moved."""
    keeps_newer: bool = False
    """The source may be written once its bytes are taken: what was, stays as it is."""
    checkpoint: Callable[[], None] = lambda: None
    """Called between the steps of a copy that is made of a large object; raises to stop."""
    leaves_plain: bool = field(init=False)
    """Files that are no links stay as they are."""

    def __post_init__(self) -> None:
        layout = self.store.layout
        self.leaves_plain = not layout.links or (
            self.isdir and leaves_plain_files(layout, self.isdir)
        )

    def stage_batch(self, files: Sequence[PlannedFile], checkpoint: Callable[[], None]) -> Batch:
        batch = Batch()
        for start in range(0, len(files), CHECKED_FILES):
            # One look for cancellation, and one block that translates errors, for some files:
            # for each of them they would cost as much as the file.
            checkpoint()
            with self.errors():
                for planned in files[start : start + CHECKED_FILES]:
                    self._stage_small(planned, batch)
        return batch

    def _stage_small(self, planned: PlannedFile, batch: Batch) -> None:
        md5 = None if self.beside else self.known_md5(planned)
        batch.count(planned, unchanged=md5 is not None)
        if md5 is not None:
            self.place(planned, md5, False, None, batch)
            return
        data = _read_planned(self.source(planned), planned)
        if not self.is_cached(planned):
            write_new(self.target(planned), data, planned.mode, planned.mtime_ns)
            return
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        self.place(planned, md5, self.store.put(data, md5), data, batch)

    def is_plain(self, planned: PlannedFile) -> bool:
        """Whether it only has to be put into the cache, and a copy made of the same bytes."""
        return self.is_cached(planned) and self._stays_plain(planned)

    def _stays_plain(self, planned: PlannedFile) -> bool:
        return self.leaves_plain and (
            bool(self.beside) or not (planned.islink or planned.nlink > 1)
        )

    def is_cached(self, planned: PlannedFile) -> bool:
        return planned.tracked and self.request.cache

    def known_md5(self, planned: PlannedFile) -> str | None:
        """The hash of a file that is known, and whose object is there."""
        same = self.known.lookup(planned)
        if same is None or not self.store.has_synced(same.md5, planned.size):
            return None
        return same.md5

    def place(
        self, planned: PlannedFile, md5: str, isnew: bool, data: bytes | None, batch: Batch
    ) -> None:
        """Make the workspace's file from an object, or from ``data``, the same bytes."""
        copied = bool(self.beside)
        if self._stays_plain(planned):
            self._leave(planned, md5, data, batch)
            return
        layout, object_path = self.store.layout, self.store.object_path(md5)
        isdir = self.isdir
        isexec = bool(planned.mode & 0o111)
        kind = link_type(
            layout, planned, copied=copied, isdir=isdir, object_path=object_path, isnew=isnew
        )
        stays = kind is None or (kind == "copy" and not planned.islink and planned.nlink == 1)
        if stays and not copied:
            # DVC makes a single file anew from the cache; these are the same bytes already.
            batch.stored.append(stored(planned, md5, planned.inode, planned.mtime_ns))
            mode = layout.copy_mode | (0o100 if isexec else 0)
            if kind == "copy" and planned.mode != mode:
                batch.modes.append(Mode(self.source(planned), mode, planned.fingerprint))
            return
        path = self.target(planned)
        if data is not None and copied and kind == "copy":
            write_new(path, data, layout.copy_mode)
        elif kind in (None, "copy") and os.path.lexists(path):
            pass  # a large file, copied step by step before
        else:
            make_link(kind or "copy", object_path, planned.size, path, layout, self.checkpoint)
        if kind is None:
            keep_times(path, planned)
        elif kind == "copy":
            os.chmod(path, layout.copy_mode)
        if isexec and not isdir:
            add_exec(path)
        now = os.stat(path)
        batch.stored.append(stored(planned, md5, now.st_ino, now.st_mtime_ns))
        if copied:
            return
        move = self._move(planned, path)
        if move is not None:
            batch.moves.append(move)
        else:
            os.unlink(path)

    def _move(self, planned: PlannedFile, path: str) -> Move | None:
        """What puts a file in the place of the source; None: there are newer bytes by now."""
        source = self.source(planned)
        try:
            there = os.lstat(source)
            if planned.islink and not self.keeps_newer:
                return Move(path, source, fingerprint_of(there))
            changed = fingerprint_of(os.stat(source)) != planned.fingerprint
        except (FileNotFoundError, NotADirectoryError):
            if not self.keeps_newer:
                raise
            return None
        if changed and self.keeps_newer:
            return None
        if changed:
            raise ArtifactChangedError(source, "was replaced or written")
        behind = planned.fingerprint if planned.islink else None
        return Move(path, source, fingerprint_of(there), behind)

    def _leave(self, planned: PlannedFile, md5: str, data: bytes | None, batch: Batch) -> None:
        """The file stays what it is, or its copy what it was: the most frequent case."""
        if not self.beside:
            batch.stored.append(stored(planned, md5, planned.inode, planned.mtime_ns))
            return
        path = self.target(planned)
        if data is not None:
            now = write_new(path, data, planned.mode, planned.mtime_ns)
        else:  # a large file, copied step by step before
            keep_times(path, planned)
            now = os.stat(path)
        batch.stored.append(stored(planned, md5, now.st_ino, now.st_mtime_ns))

    @property
    def copies_all_bytes(self) -> bool:
        """Whether the files of a copy will have bytes of their own, none of them be a link."""
        return bool(self.beside) and (
            not self.request.cache or leaves_plain_files(self.store.layout, self.isdir)
        )

    def copies_bytes(self, planned: PlannedFile) -> bool:
        """Whether a copy of the file will have bytes of its own, not be a link."""
        return bool(self.beside) and (not self.is_cached(planned) or self.copies_all_bytes)

    def source(self, planned: PlannedFile) -> str:
        return _join(self.moved_to or self.request.source, planned.key)

    def target(self, planned: PlannedFile) -> str:
        """Where to make the workspace's file: in the copy, or alone beside its place."""
        if self.beside:
            return _join(self.beside, planned.key)
        path = self.store.workspace_temp_path()
        self.made.append(path)
        return path

    def explained(self, func: Callable[[], T]) -> T:
        with self.errors():
            return func()

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Raise an OSError as what it means for the artifact."""
        try:
            yield
        except FileNotFoundError as error:
            if isinstance(error.filename, str) and is_inside(error.filename, self.request.source):
                raise ArtifactChangedError(error.filename, "vanished") from error
            raise StorageError(self.request.source, error) from error
        except OSError as error:
            raise StorageError(self.request.source, error) from error


def stored(planned: PlannedFile, md5: str, inode: int, mtime_ns: int) -> StoredFile:
    """The record of a file whose bytes are in the workspace's file with these marks."""
    isexec = bool(planned.mode & 0o111)
    return StoredFile(planned.key, md5, planned.size, isexec, inode, mtime_ns)


def _read_planned(path: str, planned: PlannedFile) -> bytes:
    """All bytes of a small file, which is as it was planned before and after the read."""
    size = planned.size
    fd = os.open(path, READ)
    try:
        try:
            data = os.read(fd, size + 1)
            while len(data) < size and (more := os.read(fd, size + 1 - len(data))):
                data += more
        except OSError:  # not a file any more?
            check_unchanged(os.fstat(fd), planned, path)
            raise
        check_unchanged(os.fstat(fd), planned, path)
    finally:
        os.close(fd)
    if len(data) != size:
        raise ArtifactPathError(
            path,
            f"is no plain file: the system says that it holds {size} bytes, and gives "
            f"{'more' if len(data) > size else len(data)}, as of files in /proc. Write what it "
            "holds to a file, and log that.",
        )
    return data


def keep_times(path: str, planned: PlannedFile) -> None:
    """Leave a copy with the mode and mtime of its source, as ``shutil.copy2`` does."""
    os.chmod(path, planned.mode)
    os.utime(path, ns=(planned.mtime_ns, planned.mtime_ns))


def _join(root: str, key: tuple[str, ...]) -> str:
    return os.sep.join((root, *key))
