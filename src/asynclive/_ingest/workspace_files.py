"""What the workspace gets of a stored file: the same file, a copy, or a link to the object.

Nothing is changed in the workspace here. New files are made at temp paths, and the moves and modes
to apply are recorded in a batch. Blocking: it runs in worker threads and in batch processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from .._artifact.placement import Mode, Move
from .._artifact.plan import PlannedFile
from .._artifact.records import StoredFile
from .._artifact.request import ArtifactRequest
from .._cache.cache_layout import CacheLayout
from .._cache.link_types import add_exec, leaves_plain_files, link_type, make_link
from .._cache.object_store import ObjectStore
from .._errors import ArtifactChangedError
from .._fs.change_detection import fingerprint_of
from .._fs.file_io import set_mode, write_new


@dataclass(slots=True)
class Batch:
    """The result of staging some files: their records, and the changes to the workspace."""

    stored: list[StoredFile] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    modes: list[Mode] = field(default_factory=list)
    doubtful: list[tuple[str, ...]] = field(default_factory=list)
    """The keys of files that a process had open for writing when they were read. A write through a
    memory map leaves the mtime of such a file as it is."""
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
        """Add the result of other files to this one."""
        self.stored += other.stored
        self.moves += other.moves
        self.modes += other.modes
        self.doubtful += other.doubtful
        self.files_staged += other.files_staged
        self.bytes_staged += other.bytes_staged
        self.files_unchanged += other.files_unchanged
        self.bytes_unchanged += other.bytes_unchanged


@dataclass(slots=True)
class WorkspaceFiles:
    """Makes the workspace files of one artifact, several at once."""

    request: ArtifactRequest
    isdir: bool
    store: ObjectStore
    copy_root: str
    """The temp path at which the copy is built; empty if there is none."""
    moved_to: str | None = None
    """The path of the source, if it was moved to a temp path."""
    releases_source: bool = False
    """Whether the caller may change the source before the artifact is staged. Such newer bytes
    stay in the workspace; otherwise they are an error."""
    checkpoint: Callable[[], None] = lambda: None
    """Called between the steps in which a large object is copied; raises to stop."""
    temp_paths: list[str] = field(default_factory=list)
    """The paths of single new files; empty if there is a copy."""
    is_on_other_disk: bool = False
    """As in the plan."""
    layout: CacheLayout = field(init=False)
    """The layout of the cache, with the links that work for this artifact."""
    keeps_plain_files: bool = field(init=False)
    """Whether ``cache.type`` leaves files with bytes of their own as they are."""

    def __post_init__(self) -> None:
        layout = self.layout = self.store.layout
        if self.is_on_other_disk:
            layout = self.layout = layout.on_other_disk()
        self.keeps_plain_files = not layout.links or (
            self.isdir and leaves_plain_files(layout, self.isdir)
        )

    def is_cached(self, planned: PlannedFile) -> bool:
        return planned.tracked and self.request.cache

    def is_plain(self, planned: PlannedFile) -> bool:
        """Return whether the file only needs an object, and its copy the same bytes."""
        return self.is_cached(planned) and self._keeps(planned)

    def _keeps(self, planned: PlannedFile) -> bool:
        return self.keeps_plain_files and (
            bool(self.copy_root) or not (planned.islink or planned.nlink > 1)
        )

    @property
    def copies_all_bytes(self) -> bool:
        """Whether every file of a copy gets bytes of its own, and none becomes a link."""
        return bool(self.copy_root) and (
            not self.request.cache or leaves_plain_files(self.layout, self.isdir)
        )

    def copies_bytes(self, planned: PlannedFile) -> bool:
        """Return whether the file's copy gets bytes of its own, and does not become a link."""
        return bool(self.copy_root) and (not self.is_cached(planned) or self.copies_all_bytes)

    def source_path(self, planned: PlannedFile) -> str:
        return _join(self.moved_to or self.request.source, planned.key)

    def new_path(self, planned: PlannedFile) -> str:
        """Return the path at which to make a new file: in the copy, or a new temp path."""
        if self.copy_root:
            return _join(self.copy_root, planned.key)
        path = self.store.workspace_temp_path()
        self.temp_paths.append(path)
        return path

    def place(
        self, planned: PlannedFile, md5: str, isnew: bool, data: bytes | None, batch: Batch
    ) -> None:
        """Make what the workspace gets of a stored file, and add its record to the batch.

        ==== ======== ============================== ========================================
        case artifact file, link type                the workspace gets
        ==== ======== ============================== ========================================
        1    in place plain, cache.type keeps it     the same file
        2    in place any, None                      the same file
        3    in place plain single file, "copy"      the same file, with DVC's mode
        4    in place any other                      a link or a copy, moved over the source
        5    copied   any, cache.type keeps it       a copy with mode and times of the source
        6    copied   in a directory, None           the same, copied from the object
        7    copied   single file, "copy"            a copy with DVC's mode
        8    copied   any other                      a link
        ==== ======== ============================== ========================================

        A file is plain if it is no symbolic link and has no other hard links.

        Args:
            planned: the file.
            md5: the MD5 of its object.
            isnew: whether the object was not in the cache before.
            data: the bytes of a small file. None: its object is known, or it is a large file,
                whose copy was already written if ``copies_bytes``.
            batch: gets the file's record, and the move or mode to apply to the workspace.
        """
        if self.copy_root:
            self._place_copy(planned, md5, isnew, data, batch)
        else:
            self._place_source(planned, md5, isnew, batch)

    def _place_source(self, planned: PlannedFile, md5: str, isnew: bool, batch: Batch) -> None:
        """Keep the source as it is, or make the file that replaces it: cases 1 to 4."""
        if self._keeps(planned):  # 1, the most frequent one
            batch.stored.append(stored(planned, md5, planned.inode, planned.mtime_ns))
            return
        kind = self._link_type(planned, md5, isnew)
        if kind is None:  # 2
            batch.stored.append(stored(planned, md5, planned.inode, planned.mtime_ns))
        elif kind == "copy" and not planned.islink and planned.nlink == 1:  # 3
            # DVC makes a single file anew from the cache; it has these bytes already.
            batch.stored.append(stored(planned, md5, planned.inode, planned.mtime_ns))
            mode = self.store.layout.copy_mode | (0o100 if planned.mode & 0o111 else 0)
            if planned.mode != mode and self.store.layout.keeps_modes:
                batch.modes.append(Mode(self.source_path(planned), mode, planned.fingerprint))
        else:  # 4
            path = self.new_path(planned)
            self._make_link(kind, planned, md5, path)
            if kind == "copy":
                set_mode(path, self.store.layout.copy_mode)
            self._add_new_file(planned, md5, path, batch)
            move = self._move_over_source(planned, path)
            if move is not None:
                batch.moves.append(move)
            else:
                os.unlink(path)

    def _place_copy(
        self, planned: PlannedFile, md5: str, isnew: bool, data: bytes | None, batch: Batch
    ) -> None:
        """Make the file of a copy: cases 5 to 8."""
        path = self.new_path(planned)
        if self._keeps(planned):  # 5, the most frequent one
            if data is not None:
                now = write_new(path, data, planned.mode, planned.mtime_ns)
            else:
                keep_times(path, planned)
                now = os.stat(path)
            batch.stored.append(stored(planned, md5, now.st_ino, now.st_mtime_ns))
            return
        kind = self._link_type(planned, md5, isnew)
        if kind is None:  # 6
            self._make_link("copy", planned, md5, path)
            keep_times(path, planned)
        elif kind != "copy":  # 8
            self._make_link(kind, planned, md5, path)
        elif data is not None:  # 7
            write_new(path, data, self.store.layout.copy_mode)
        else:  # 7
            set_mode(path, self.store.layout.copy_mode)
        self._add_new_file(planned, md5, path, batch)

    def _link_type(self, planned: PlannedFile, md5: str, isnew: bool) -> str | None:
        return link_type(
            self.layout,
            planned,
            copied=bool(self.copy_root),
            isdir=self.isdir,
            object_path=self.store.object_path(md5),
            isnew=isnew,
        )

    def _make_link(self, kind: str, planned: PlannedFile, md5: str, path: str) -> None:
        object_path, layout = self.store.object_path(md5), self.store.layout
        make_link(kind, object_path, planned.size, path, layout, self.checkpoint)

    def _add_new_file(self, planned: PlannedFile, md5: str, path: str, batch: Batch) -> None:
        """Add the record of a new file, after giving it u+x as DVC does."""
        if planned.mode & 0o111 and not self.isdir:
            add_exec(path)
        now = os.stat(path)
        batch.stored.append(stored(planned, md5, now.st_ino, now.st_mtime_ns))

    def _move_over_source(self, planned: PlannedFile, path: str) -> Move | None:
        """Return the move of a new file over the source; None: the source has newer bytes.

        Raises:
            ArtifactChangedError: the source has newer bytes, and its caller was still to wait.
            FileNotFoundError, NotADirectoryError: likewise, the source is gone.
        """
        source = self.source_path(planned)
        try:
            there = os.lstat(source)
            if planned.islink and not self.releases_source:
                return Move(path, source, fingerprint_of(there))
            changed = fingerprint_of(os.stat(source)) != planned.fingerprint
        except (FileNotFoundError, NotADirectoryError):
            if not self.releases_source:
                raise
            return None
        if changed and self.releases_source:
            return None
        if changed:
            raise ArtifactChangedError(source, "was replaced or written")
        return Move(
            path, source, fingerprint_of(there), planned.fingerprint if planned.islink else None
        )


def stored(planned: PlannedFile, md5: str, inode: int, mtime_ns: int) -> StoredFile:
    """Return the record of a file whose bytes are in the workspace file with these marks."""
    isexec = bool(planned.mode & 0o111)
    return StoredFile(planned.key, md5, planned.size, isexec, inode, mtime_ns)


def keep_times(path: str, planned: PlannedFile) -> None:
    """Give a copy the mode and mtime of its source, as ``shutil.copy2`` does."""
    set_mode(path, planned.mode)
    os.utime(path, ns=(planned.mtime_ns, planned.mtime_ns))


def _join(root: str, key: tuple[str, ...]) -> str:
    return os.sep.join((root, *key))
