"""Look at a path as ``dvc add`` does: files, links, what is ignored, what cannot be logged.

Blocking and without DVC: it takes DVC's ignore rules as a function.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from .._artifact.plan import ArtifactPlan, PlannedDir, PlannedFile
from .._artifact.request import ArtifactRequest
from .._errors import ArtifactNotFoundError, ArtifactPathError, StorageError
from .._fs.paths import is_inside, is_utf8, relocated

DVCIGNORE = ".dvcignore"
DVC_DIR = ".dvc"
_CHECKED_FILES = 64


class IgnoreFilter(Protocol):
    """DVC's ignore rules: the names of ``dirs`` and ``files`` in ``root`` that it tracks."""

    def __call__(
        self, root: str, dirs: list[str], files: list[str]
    ) -> tuple[list[str], list[str]]: ...


def check_source(request: ArtifactRequest, root: str, at: str) -> os.stat_result:
    """Look at a source itself, not at what it holds: whether it can be logged at all.

    Raises: as ``make_plan``.
    """
    with _explained(request.source, at):
        found = os.stat(at)
        if request.copy:
            _check_apart(request, root)
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise ArtifactPathError(request.source, f"is a {_kind(found.st_mode)}, not a file.")
    return found


def make_plan(
    request: ArtifactRequest,
    root: str,
    ignore: Callable[[], IgnoreFilter],
    checkpoint: Callable[[], None],
    on_names: Callable[[int], None] = lambda _: None,
    moved_to: str | None = None,
) -> ArtifactPlan:
    """Find out what ``request.source`` holds.

    Args:
        request: what is to be logged.
        root: the directory of the DVC repository.
        ignore: gives DVC's rules; asked for only when there is a directory to walk.
        checkpoint: called once a directory, and once some files; raises to stop.
        on_names: told once a directory how many names of files were found so far, before any of
            the files is looked at.
        moved_to: where the source is by now; errors name where it was.

    Raises:
        ArtifactNotFoundError: the source does not exist.
        ArtifactPathError: it, or something in it, cannot be logged; or it is, holds or lies
            in the destination of its copy.
        StorageError: it cannot be read.
    """
    source, at = request.source, moved_to or request.source
    found = check_source(request, root, at)
    with _explained(source, at):
        if stat.S_ISREG(found.st_mode):
            islink = os.path.islink(at)
            link_target = os.readlink(at) if islink else None
            file = _planned((), found, link_target, True)
            return ArtifactPlan(request, False, (file,), (), moved_to)
        walk = _TreeWalk(request, at, ignore(), checkpoint, on_names)
        # A copy that is a repository itself is nothing that DVC looks into.
        tracked = not (request.copy and _is_repository(at))
        walk.visit(at, (), found, tracked=tracked, above=())
    return ArtifactPlan(
        request, True, tuple(walk.files), tuple(walk.dirs), moved_to, walk.has_relative_links
    )


@contextmanager
def _explained(source: str, at: str) -> Iterator[None]:
    """Raise an OSError as what it means for a source that is ``at`` another path by now."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        if error.filename == at and not os.path.islink(at):
            raise ArtifactNotFoundError(source) from error
        raise _dangling(source, error.filename, relocated(error.filename, at, source)) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            path = relocated(error.filename, at, source)
            raise ArtifactPathError(source, f"holds a link to itself: '{path}'.") from error
        raise StorageError(source, error) from error


class _TreeWalk:
    """Collects what lies below one directory.

    In place, as DVC walks: a link to a file counts as that file, a link to a directory is
    passed over. For a copy, as ``shutil.copytree`` walks: every link is followed.
    """

    def __init__(
        self,
        request: ArtifactRequest,
        at: str,
        ignore: IgnoreFilter,
        checkpoint: Callable[[], None],
        on_names: Callable[[int], None],
    ) -> None:
        self.request = request
        self.at = at
        self.ignore = ignore
        self.checkpoint = checkpoint
        self.on_names = on_names
        self.names = 0
        self.has_relative_links = False
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
            raise self.refused(f"holds a link to itself: '{self.said(path)}'.")
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
        self.on_names(self.names)
        kept_dirs, kept_files = self._tracked(key, dirs, files) if tracked else (set(), set())
        if kept_files and DVCIGNORE in kept_files:
            raise self.refused(
                f"holds a {DVCIGNORE} file ('{self.said(path, DVCIGNORE)}'), which DVC does not "
                "track. Move its rules to one above the artifact."
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
                raise self.refused(
                    f"holds a {_kind(found_file.st_mode)} ('{self.said(below)}'), which cannot be "
                    "logged."
                )
            link_target = self.followed(below) if name in links else None
            self.files.append(_planned((*key, name), found_file, link_target, kept))
        for name in dirs:
            if not self.request.copy and name not in kept_dirs:
                continue
            below = f"{path}{os.sep}{name}"
            if name in links:
                self.followed(below)
            self.visit(
                below,
                (*key, name),
                os.stat(below),
                tracked=name in kept_dirs,
                above=(*above, here),
            )

    def refused(self, why: str) -> ArtifactPathError:
        return ArtifactPathError(self.request.source, why)

    def said(self, *path: str) -> str:
        """A path as its caller knows it."""
        return relocated(os.path.join(*path), self.at, self.request.source)

    def followed(self, link: str) -> str:
        link_target = os.readlink(link)
        self.has_relative_links = self.has_relative_links or not os.path.isabs(link_target)
        return link_target

    def _check_utf8(self, path: str, key: tuple[str, ...], names: Iterable[str]) -> None:
        """Refuse tracked files that the object of their directory could not name."""
        if not self.request.cache:
            return
        for name in names:
            if not is_utf8(name) or not all(map(is_utf8, key)):
                raise self.refused(
                    f"holds a name that is not UTF-8, as DVC's files have to be: "
                    f"'{self.said(path, name)}'. Rename it."
                )

    def _tracked(
        self, key: tuple[str, ...], dirs: list[str], files: list[str]
    ) -> tuple[set[str], set[str]]:
        """The names that DVC would track, by the rules of where they will lie."""
        root = os.path.join(self.request.path, *key)
        kept_dirs, kept_files = self.ignore(root, list(dirs), list(files))
        # Of a copy that is not there yet, DVC's rules cannot see that a directory in it is
        # a repository of its own.
        source = os.path.join(self.at, *key)
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
    key: tuple[str, ...], found: os.stat_result, link_target: str | None, tracked: bool
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
        link_target,
    )


def _dangling(source: str, path: str, said: str) -> ArtifactPathError:
    if os.path.islink(path):
        return ArtifactPathError(
            source, f"is or holds a link to a file that does not exist: '{said}'."
        )
    return ArtifactNotFoundError(source, f"lost '{said}' while it was looked at.")


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
