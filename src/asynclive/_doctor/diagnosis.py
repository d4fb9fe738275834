"""What there is to know of a repository before artifacts are logged in it, and what is wrong.

It leaves everything as it is: what has to be tried, as which links work, is tried with files of
its own, in directories that go the way of a session's if it is killed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .._dvc.repository.inspect_repository import RepositoryFacts, look_at_repository, working_links
from .._errors import RepositoryError
from .._workspace.crash_recovery import FoundSession, find_sessions
from .._workspace.temp_session import TempSession
from .file_systems import Disk, disk_under, existing
from .lock_holders import LockHolder, lock_holders

LINKS = ("reflink", "hardlink", "symlink", "copy")
_NEEDED = ("dvc", "dvc-data", "dvc-objects", "anyio", "aiofiles", "ruamel.yaml", "click", "rich")
_OPTIONAL = ("trio", "uvloop", "dvclive", "opentelemetry-api")
# Less than this is said: a checkpoint may well be larger (bytes).
_LITTLE = 2**30


@dataclass(frozen=True, slots=True)
class Links:
    """By what a file of the workspace can be one of the cache.

    Attributes:
        working: those of ``LINKS`` that work here.
        used: the one that DVC takes by ``cache.type``; None: none of its types works.
        workspace_reflinks: a copy within the workspace can share blocks.
        cache_reflinks: likewise within the cache.
    """

    working: tuple[str, ...]
    used: str | None
    workspace_reflinks: bool
    cache_reflinks: bool


@dataclass(slots=True)
class Diagnosis:
    """All that was found. Nothing is wrong where ``problems`` is empty."""

    versions: dict[str, str | None]
    """By distribution; None: it is not installed."""
    directory: str
    repository: RepositoryFacts | None = None
    workspace: Disk | None = None
    cache: Disk | None = None
    links: Links | None = None
    sessions: list[FoundSession] = field(default_factory=list)
    locks: list[LockHolder] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What keeps artifacts from being logged."""
    notes: list[str] = field(default_factory=list)
    """What does not, and is worth knowing."""


def diagnose(directory: str) -> Diagnosis:
    """Look at the repository at or above ``directory``. Blocking; raises nothing of its own."""
    found = Diagnosis(_versions(), os.path.abspath(directory))
    found.problems += unfit(found.versions, _requirements())
    try:
        repository = found.repository = look_at_repository(os.path.realpath(directory))
    except RepositoryError as error:
        found.problems.append(str(error))
        return found
    except ImportError as error:
        found.problems.append(f"DVC cannot be imported: {error}. Install it again.")
        return found
    found.workspace = _disk(found, "workspace", repository.root)
    if repository.dvc_dir is None:
        found.notes.append(
            f"'{repository.root}' is a Git repository without DVC: the first session runs "
            "'dvc init' in it."
        )
        return found
    if repository.unreadable is not None:
        found.problems.append(f"DVC cannot read its files: {repository.unreadable}")
    found.cache = _disk(found, "cache", repository.cache_dir)
    _try_links(found, repository)
    _look_for_sessions(found, repository)
    found.locks = lock_holders(repository.lock, repository.tmp_dir)
    return found


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {
        "asynclive": _version("asynclive"),
        "Python": platform.python_version(),
    }
    versions |= {name: _version(name) for name in (*_NEEDED, *_OPTIONAL)}
    versions["system"] = f"{platform.system()} {platform.release()} ({sys.platform})"
    return versions


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def unfit(versions: Mapping[str, str | None], requirements: Sequence[str]) -> list[str]:
    """What is said of each installed version that is not one of those required."""
    from packaging.requirements import Requirement  # DVC needs it as well

    said = []
    for requirement in map(Requirement, requirements):
        version = versions.get(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if version is not None and not requirement.specifier.contains(version, prereleases=True):
            said.append(
                f"{requirement.name} {version} is installed, and asynclive needs "
                f"{requirement.specifier}."
            )
    return said


def _requirements() -> list[str]:
    try:
        return importlib.metadata.requires("asynclive") or []
    except importlib.metadata.PackageNotFoundError:  # it runs from a checkout
        return []


def _disk(found: Diagnosis, what: str, path: str) -> Disk | None:
    try:
        disk = disk_under(path)
    except OSError as error:
        found.problems.append(f"The {what} '{path}' cannot be looked at: {error.strerror}")
        return None
    if not disk.free_bytes or disk.inodes_free == 0:
        found.problems.append(f"The disk of the {what} '{path}' is full.")
    elif disk.free_bytes < _LITTLE:
        found.notes.append(f"There is little room for the {what} '{path}'.")
    return disk


def _try_links(found: Diagnosis, repository: RepositoryFacts) -> None:
    cache_dir, tmp_dir = existing(repository.cache_dir), existing(repository.tmp_dir)
    for what, path in (("cache", cache_dir), ("directory of temp files", tmp_dir)):
        if not os.path.isdir(path):
            found.problems.append(f"The {what} '{path}' is not a directory.")
            return
    try:
        with _tried_in(cache_dir, tmp_dir) as (cache_tmp, workspace_tmp):
            working = working_links(cache_tmp, workspace_tmp, LINKS)
            workspace_reflinks, cache_reflinks = (
                bool(working_links(each, each, LINKS[:1])) for each in (workspace_tmp, cache_tmp)
            )
    except OSError as error:
        where = repository.cache_dir if error.filename is None else os.path.dirname(error.filename)
        found.problems.append(f"'{where}' cannot be written to: {error.strerror or error}.")
        return
    used = next((kind for kind in repository.cache_types if kind in working), None)
    found.links = Links(working, used, workspace_reflinks, cache_reflinks)
    if used is None:
        found.problems.append(
            f"None of cache.type = {','.join(repository.cache_types)} works between the cache and "
            "the workspace. Run 'dvc config cache.type reflink,copy'."
        )


@contextlib.contextmanager
def _tried_in(cache_dir: str, tmp_dir: str) -> Iterator[tuple[str, str]]:
    """A directory in each, gone afterwards, for which these are as they were."""
    times = {path: os.stat(path) for path in {cache_dir, tmp_dir}}
    try:
        session = TempSession.start(cache_dir, tmp_dir)
        try:
            yield session.cache_tmp, session.workspace_tmp
        finally:
            session.close()
    finally:
        for path, before in times.items():
            with contextlib.suppress(PermissionError):  # another's, of the same group
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _look_for_sessions(found: Diagnosis, repository: RepositoryFacts) -> None:
    other = os.path.join(os.path.dirname(repository.tmp_dir), "cache")
    found.sessions = find_sessions([repository.cache_dir, repository.tmp_dir, other])
    dead = [session for session in found.sessions if not session.living]
    if not dead:
        return
    size = sum(session.size for session in dead)
    if repository.hardlink_lock:
        found.notes.append(
            f"There may be temp files of sessions that were killed ({size:,} bytes). With "
            "core.hardlink_lock nobody can tell: they stay until they are removed by hand."
        )
    else:
        found.notes.append(
            f"Sessions that were killed have left {len(dead)} directories of temp files "
            f"({size:,} bytes). The next session removes them."
        )
