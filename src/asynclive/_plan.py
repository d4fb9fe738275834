"""What a path holds, as ``dvc add`` sees it: files, links, what is ignored, what cannot be logged.

Blocking and without DVC: it takes DVC's ignore rules as a function.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ._artifact import ArtifactRequest, is_inside, is_utf8
from ._errors import (
    ArtifactChangedError,
    ArtifactNotFoundError,
    ArtifactPathError,
    StorageError,
)

DVCIGNORE = ".dvcignore"
DVC_DIR = ".dvc"
_CHECKED_FILES = 64


class IgnoreFilter(Protocol):
    """DVC's ignore rules: the names of ``dirs`` and ``files`` in ``root`` that it tracks."""

    def __call__(
        self, root: str, dirs: list[str], files: list[str]
    ) -> tuple[list[str], list[str]]: ...


class PlannedFile(NamedTuple):
    """One regular file, with the marks by which a change under the read is found.

    A tuple: there are as many as files, and a frozen dataclass takes five times as long to make.
    """

    key: tuple[str, ...]
    size: int
    mode: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    nlink: int
    tracked: bool
    """False: copied along, but ``.dvcignore`` keeps it out of the cache."""
    leads_to: str | None = None
    """What the link says, where it is one; the marks are those of the file behind it."""

    @property
    def islink(self) -> bool:
        """Reached through a symbolic link."""
        return self.leads_to is not None

    @property
    def marks(self) -> tuple[int, int]:
        """What a file that is replaced or written does not keep."""
        return self.inode, self.mtime_ns


@dataclass(frozen=True, slots=True)
class PlannedDir:
    """One directory of a tree to be copied."""

    key: tuple[str, ...]
    mode: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class ArtifactPlan:
    """Everything there is to copy and hash."""

    request: ArtifactRequest
    isdir: bool
    files: tuple[PlannedFile, ...] = field(repr=False)
    dirs: tuple[PlannedDir, ...] = field(repr=False)
    """Parents before children; empty when nothing is copied."""
    moved_to: str | None = None
    """Where the source is by now, if its caller gave it up."""

    total_bytes: int = field(init=False)
    """Counted once, in the thread that plans: the event loop asks for it again and again."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "total_bytes", sum(file.size for file in self.files))

    @property
    def is_read(self) -> bool:
        """Whether any of it is read, not only recorded."""
        return self.request.cache or self.request.copy

    @property
    def tracked(self) -> Iterator[PlannedFile]:
        return (file for file in self.files if file.tracked)


def make_plan(
    request: ArtifactRequest,
    root: str,
    ignore: Callable[[], IgnoreFilter],
    checkpoint: Callable[[], None],
    found_names: Callable[[int], None] = lambda _: None,
) -> ArtifactPlan:
    """Find out what ``request.source`` holds.

    Args:
        request: what is to be logged.
        root: the directory of the DVC repository.
        ignore: gives DVC's rules; asked for only when there is a directory to walk.
        checkpoint: called once a directory, and once some files; raises to stop.
        found_names: told once a directory how many names of files were found so far, before any of
            the files is looked at.

    Raises:
        ArtifactNotFoundError: the source does not exist.
        ArtifactPathError: it, or something in it, cannot be logged; or it is, holds or lies
            in the destination of its copy.
        StorageError: it cannot be read.
    """
    source = request.source
    try:
        found = os.stat(source)
        if request.copy:
            _check_apart(request, root)
        if stat.S_ISREG(found.st_mode):
            islink = os.path.islink(source)
            leads_to = os.readlink(source) if islink else None
            return ArtifactPlan(request, False, (_planned((), found, leads_to, True),), ())
        if not stat.S_ISDIR(found.st_mode):
            raise ArtifactPathError(source, f"is a {_kind(found.st_mode)}, not a file.")
        walk = _TreeWalk(request, ignore(), checkpoint, found_names)
        # A copy that is a repository itself is nothing that DVC looks into.
        tracked = not (request.copy and _is_repository(source))
        walk.visit(source, (), found, tracked=tracked, above=())
    except (FileNotFoundError, NotADirectoryError) as error:
        if error.filename == source and not os.path.islink(source):
            raise ArtifactNotFoundError(source) from error
        raise _dangling(source, error) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ArtifactPathError(
                source, f"holds a link to itself: '{error.filename}'."
            ) from error
        raise StorageError(source, error) from error
    return ArtifactPlan(request, True, tuple(walk.files), tuple(walk.dirs))


def check_unchanged(now: os.stat_result, planned: PlannedFile, path: str) -> None:
    """Raise ArtifactChangedError unless the open file is as it was planned."""
    if (now.st_ino, now.st_mtime_ns) != planned.marks:
        raise ArtifactChangedError(path, "was replaced or written")
    if now.st_size != planned.size:
        raise ArtifactChangedError(path, "grew or shrank")


class _TreeWalk:
    """Collects what lies below one directory.

    In place, as DVC walks: a link to a file counts as that file, a link to a directory is
    passed over. For a copy, as ``shutil.copytree`` walks: every link is followed.
    """

    def __init__(
        self,
        request: ArtifactRequest,
        ignore: IgnoreFilter,
        checkpoint: Callable[[], None],
        found_names: Callable[[int], None],
    ) -> None:
        self.request = request
        self.ignore = ignore
        self.checkpoint = checkpoint
        self.found_names = found_names
        self.names = 0
        self.files: list[PlannedFile] = []
        self.dirs: list[PlannedDir] = []

    def visit(
        self,
        path: str,
        key: tuple[str, ...],
        found: os.stat_result,
        *,
        tracked: bool,
        above: tuple[tuple[int, int], ...],
    ) -> None:
        self.checkpoint()
        here = (found.st_dev, found.st_ino)
        if here in above:
            raise ArtifactPathError(self.request.source, f"holds a link to itself: '{path}'.")
        if self.request.copy:
            self.dirs.append(PlannedDir(key, stat.S_IMODE(found.st_mode), found.st_mtime_ns))
        copied = self.request.copy
        links: set[str] = set()
        dirs: list[str] = []
        files: list[str] = []
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_symlink():
                    links.add(name)
                if not _is_dir(entry):
                    files.append(name)
                elif copied or name not in links:
                    dirs.append(name)
        self.names += len(files)
        self.found_names(self.names)
        kept_dirs, kept_files = self._tracked(key, dirs, files) if tracked else (set(), set())
        if kept_files and DVCIGNORE in kept_files:
            raise ArtifactPathError(
                self.request.source,
                f"holds a {DVCIGNORE} file ('{os.path.join(path, DVCIGNORE)}'), which DVC does not "
                "track. Move its rules to one above the artifact.",
            )
        self._check_utf8(path, key, kept_files)
        for number, name in enumerate(files):
            if number % _CHECKED_FILES == 0:
                self.checkpoint()
            kept = name in kept_files
            if not copied and not kept:
                continue
            below = f"{path}{os.sep}{name}"
            found_file = os.stat(below)
            if not stat.S_ISREG(found_file.st_mode):
                raise ArtifactPathError(
                    self.request.source,
                    f"holds a {_kind(found_file.st_mode)} ('{below}'), which cannot be logged.",
                )
            leads_to = os.readlink(below) if name in links else None
            self.files.append(_planned((*key, name), found_file, leads_to, kept))
        for name in dirs:
            if not self.request.copy and name not in kept_dirs:
                continue
            below = f"{path}{os.sep}{name}"
            self.visit(
                below,
                (*key, name),
                os.stat(below),
                tracked=name in kept_dirs,
                above=(*above, here),
            )

    def _check_utf8(self, path: str, key: tuple[str, ...], names: Iterable[str]) -> None:
        """Refuse tracked files that the object of their directory could not name."""
        if not self.request.cache:
            return
        for name in names:
            if not is_utf8(name) or not all(map(is_utf8, key)):
                raise ArtifactPathError(
                    self.request.source,
                    f"holds a name that is not UTF-8, as DVC's files have to be: "
                    f"'{path}{os.sep}{name}'. Rename it.",
                )

    def _tracked(
        self, key: tuple[str, ...], dirs: list[str], files: list[str]
    ) -> tuple[set[str], set[str]]:
        """The names that DVC would track, by the rules of where they will lie."""
        root = os.path.join(self.request.path, *key)
        kept_dirs, kept_files = self.ignore(root, list(dirs), list(files))
        # Of a copy that is not there yet, DVC's rules cannot see that a directory in it is
        # a repository of its own.
        source = os.path.join(self.request.source, *key)
        return (
            {name for name in kept_dirs if not _is_repository(os.path.join(source, name))},
            set(kept_files),
        )


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: a matter for whoever asks for the file
        return False


def _is_repository(path: str) -> bool:
    return os.path.lexists(os.path.join(path, DVC_DIR))


def _check_apart(request: ArtifactRequest, root: str) -> None:
    """With links resolved, the copy must stay in its place, and off its source."""
    source = os.path.realpath(request.source)
    parent = os.path.realpath(os.path.dirname(request.path))
    destination = os.path.join(parent, os.path.basename(request.path))
    for boundary in (request.artifacts_dir, root):
        if boundary is not None and not is_inside(parent, os.path.realpath(boundary)):
            raise ArtifactPathError(
                request.source,
                f"cannot be copied to '{request.path}': a link on the way leads out of "
                f"'{boundary}', to '{parent}'. Remove the link, or pass another dir=.",
            )
    if is_inside(source, destination) or is_inside(destination, source):
        raise ArtifactPathError(
            request.source,
            f"cannot be copied to '{request.path}': one holds the other. "
            "Log it in place, without copy.",
        )


def _planned(
    key: tuple[str, ...], found: os.stat_result, leads_to: str | None, tracked: bool
) -> PlannedFile:
    return PlannedFile(
        key,
        found.st_size,
        stat.S_IMODE(found.st_mode),
        found.st_ino,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_nlink,
        tracked,
        leads_to,
    )


def _dangling(source: str, error: OSError) -> ArtifactPathError:
    if os.path.islink(error.filename):
        return ArtifactPathError(
            source, f"is or holds a link to a file that does not exist: '{error.filename}'."
        )
    return ArtifactNotFoundError(source, f"lost '{error.filename}' while it was looked at.")


def _kind(mode: int) -> str:
    for test, kind in (
        (stat.S_ISFIFO, "named pipe"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISBLK, "block device"),
        (stat.S_ISCHR, "character device"),
    ):
        if test(mode):
            return kind
    return "special file"
