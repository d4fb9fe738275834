"""Scan a path as ``dvc add`` does: its files, links and ignored names.

Blocks; call it in a worker thread. DVC's ignore rules are an argument, so it does not import DVC.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from .._artifact.plan import ArtifactPlan, PlannedDir, PlannedFile
from .._artifact.request import ArtifactRequest
from .._errors import (
    ArtifactNotFoundError,
    ArtifactPathError,
    StorageError,
    advice_on_rotation,
)
from .._fs.paths import is_inside, is_utf8, relocated

DVCIGNORE = ".dvcignore"
DVC_DIR = ".dvc"
_FILES_PER_CHECKPOINT = 64


class IgnoreFilter(Protocol):
    """DVC's ignore rules: return the names of ``dirs`` and ``files`` in ``root`` that it tracks."""

    def __call__(
        self, root: str, dirs: list[str], files: list[str]
    ) -> tuple[list[str], list[str]]: ...


def check_source(request: ArtifactRequest, root: str, at: str) -> os.stat_result:
    """Return the stat record of a source, unless it cannot be logged. Does not look inside.

    Args:
        request: the artifact.
        root: the directory of the DVC repository.
        at: the path where the source is now.

    Raises:
        ArtifactNotFoundError, ArtifactPathError, StorageError: as ``make_plan`` does.
    """
    with _translate_os_errors(request.source, at):
        found = os.stat(at)
        if request.copy:
            _check_apart(request, root)
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise ArtifactPathError(
            request.source,
            f"is a {_kind(found.st_mode)}. Only files and directories can be logged.",
        )
    return found


def make_plan(
    request: ArtifactRequest,
    root: str,
    ignore: Callable[[], IgnoreFilter],
    checkpoint: Callable[[], None],
    on_names: Callable[[int], None] = lambda _: None,
    moved_to: str | None = None,
) -> ArtifactPlan:
    """Return the files and directories of ``request.source``.

    Args:
        request: the artifact.
        root: the directory of the DVC repository.
        ignore: returns DVC's rules; called only if the source is a directory.
        checkpoint: called for each directory and for every few files; raises to stop.
        on_names: called for each directory with the number of file names found so far, before
            any file of that directory is examined.
        moved_to: the temp path of the source, if it was moved. Errors name the original path.

    Raises:
        ArtifactNotFoundError: the source does not exist.
        ArtifactPathError: the source, or a file in it, cannot be logged; or the source is, contains
            or lies in the destination of its copy.
        StorageError: the source cannot be read.
    """
    source, at = request.source, moved_to or request.source
    found = check_source(request, root, at)
    with _translate_os_errors(source, at):
        if stat.S_ISREG(found.st_mode):
            link_target = os.readlink(at) if os.path.islink(at) else None
            file = _planned((), found, link_target, True)
            return ArtifactPlan(request, False, (file,), (), moved_to)
        scan = _TreeScan(request, at, ignore(), checkpoint, on_names)
        # DVC does not track the files of a repository inside its own.
        tracked = not (request.copy and _is_repository(at))
        scan.visit(at, (), found, tracked=tracked, ancestors=())
    return ArtifactPlan(
        request, True, tuple(scan.files), tuple(scan.dirs), moved_to, scan.has_relative_links
    )


@contextmanager
def _translate_os_errors(source: str, at: str) -> Iterator[None]:
    """Raise an OSError as the error of asynclive that fits it.

    Args:
        source: the path that the user knows, for the message.
        at: the path where the source is now.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        if error.filename == at and not os.path.islink(at):
            raise ArtifactNotFoundError(source) from error
        shown = relocated(error.filename, at, source)
        raise _missing_file(source, error.filename, shown) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _link_loop(source, relocated(error.filename, at, source)) from error
        raise StorageError(source, error) from error


class _Listing(NamedTuple):
    """The names in one directory."""

    dirs: list[str]
    """In place, without links to directories: DVC does not follow them."""
    files: list[str]
    """All other names."""
    links: set[str]
    """Those of ``dirs`` and ``files`` that are symbolic links."""


class _TreeScan:
    """Collects the files and directories below one directory.

    In place it walks as DVC does: a link to a file counts as that file, and a link to a directory
    is skipped. For a copy it walks as ``shutil.copytree`` does: it follows every link.
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
        self.name_count = 0
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
        ancestors: tuple[tuple[int, int], ...],
    ) -> None:
        """Add one directory and all below it.

        Args:
            path: the directory.
            key: its path in the artifact.
            found: its stat record.
            tracked: whether DVC tracks files in it. False: they are only copied.
            ancestors: device and inode of each directory above it, to find a loop of links.
        """
        self.checkpoint()
        identity = (found.st_dev, found.st_ino)
        if identity in ancestors:
            raise _link_loop(self.request.source, self._original(path))
        copied = self.request.copy
        if copied:
            self.dirs.append(PlannedDir(key, stat.S_IMODE(found.st_mode), found.st_mtime_ns))
        listing = self._list(path)
        self.name_count += len(listing.files)
        self.on_names(self.name_count)
        kept_dirs, kept_files = self._kept_by_dvc(key, listing) if tracked else (set(), set())
        self._check_names(path, key, kept_files)
        self._add_files(path, key, listing, kept_files)
        # The recursion is in this function alone: Python's limit allows one frame for each level
        # of a deep tree, and not two.
        for name in listing.dirs:
            if not copied and name not in kept_dirs:
                continue
            below = f"{path}{os.sep}{name}"
            if name in listing.links:
                self._read_link(below)
            self.visit(
                below,
                (*key, name),
                os.stat(below),
                tracked=name in kept_dirs,
                ancestors=(*ancestors, identity),
            )

    def _list(self, path: str) -> _Listing:
        listing = _Listing([], [], set())
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_symlink():
                    listing.links.add(name)
                if not _is_dir(entry):
                    listing.files.append(name)
                elif self.request.copy or name not in listing.links:
                    listing.dirs.append(name)
        return listing

    def _kept_by_dvc(self, key: tuple[str, ...], listing: _Listing) -> tuple[set[str], set[str]]:
        """Return the names that DVC's rules for the final path of the directory keep."""
        root = os.path.join(self.request.path, *key)
        kept_dirs, kept_files = self.ignore(root, list(listing.dirs), list(listing.files))
        # DVC's rules skip a directory that is a repository. They cannot see that of a copy that
        # does not exist yet, so check the source.
        source = os.path.join(self.at, *key)
        return (
            {name for name in kept_dirs if not _is_repository(os.path.join(source, name))},
            set(kept_files),
        )

    def _check_names(self, path: str, key: tuple[str, ...], kept: Iterable[str]) -> None:
        """Refuse files that DVC would track but cannot, because of their names."""
        if DVCIGNORE in kept:
            raise self._refusal(
                f"contains a {DVCIGNORE} file ('{self._original(path, DVCIGNORE)}'), which DVC "
                "does not allow inside an artifact. Move its rules to a .dvcignore file above "
                "the artifact."
            )
        if not self.request.cache:
            return
        # DVC lists the files of a directory in an object of JSON, which is UTF-8.
        for name in kept:
            if not is_utf8(name) or not all(map(is_utf8, key)):
                raise self._refusal(
                    "contains a file whose name is not UTF-8, which DVC cannot track: "
                    f"'{self._original(path, name)}'. Rename it."
                )

    def _add_files(
        self, path: str, key: tuple[str, ...], listing: _Listing, kept: set[str]
    ) -> None:
        for number, name in enumerate(listing.files):
            if number % _FILES_PER_CHECKPOINT == 0:
                self.checkpoint()
            is_kept = name in kept
            if not self.request.copy and not is_kept:
                continue
            below = f"{path}{os.sep}{name}"
            found = os.stat(below)
            if not stat.S_ISREG(found.st_mode):
                raise self._refusal(
                    f"contains a {_kind(found.st_mode)} ('{self._original(below)}'). Only files "
                    "and directories can be logged. Remove it."
                )
            link_target = self._read_link(below) if name in listing.links else None
            self.files.append(_planned((*key, name), found, link_target, is_kept))

    def _read_link(self, link: str) -> str:
        link_target = os.readlink(link)
        self.has_relative_links = self.has_relative_links or not os.path.isabs(link_target)
        return link_target

    def _refusal(self, why: str) -> ArtifactPathError:
        return ArtifactPathError(self.request.source, why)

    def _original(self, *path: str) -> str:
        """Return a path as the user knows it: below the source, even if that was moved."""
        return relocated(os.path.join(*path), self.at, self.request.source)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: os.stat raises for it, unless it is ignored
        return False


def _is_repository(path: str) -> bool:
    return os.path.lexists(os.path.join(path, DVC_DIR))


def _check_apart(request: ArtifactRequest, root: str) -> None:
    """Refuse a copy that a symbolic link leads out of its directory, or into its source."""
    source = os.path.realpath(request.source)
    parent = os.path.realpath(os.path.dirname(request.path))
    destination = os.path.join(parent, os.path.basename(request.path))
    for boundary in (request.artifacts_dir, root):
        if boundary is not None and not is_inside(parent, os.path.realpath(boundary)):
            raise ArtifactPathError(
                request.source,
                f"cannot be copied to '{request.path}': a symbolic link in that path leads out of "
                f"'{boundary}', to '{parent}'. Remove the link, or pass another dir=.",
            )
    if is_inside(source, destination) or is_inside(destination, source):
        raise ArtifactPathError(
            request.source,
            f"cannot be copied to '{request.path}': one contains the other. "
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


def _missing_file(source: str, path: str, shown: str) -> ArtifactPathError:
    """Return the error for a path that does not exist, which messages call ``shown``."""
    if os.path.islink(path):
        return ArtifactPathError(
            source,
            f"is or contains a symbolic link to a file that does not exist: '{shown}'. "
            "Remove the link, or create the file.",
        )
    return ArtifactNotFoundError(
        source,
        f"changed while it was scanned: '{shown}' was removed. Log it again. "
        f"{advice_on_rotation(source)}",
    )


def _link_loop(source: str, path: str) -> ArtifactPathError:
    return ArtifactPathError(
        source, f"contains a loop of symbolic links: '{path}'. Remove the link."
    )


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
