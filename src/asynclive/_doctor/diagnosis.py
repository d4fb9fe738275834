"""Examines a repository, and finds the problems that keep artifacts from being logged in it.

It changes nothing. To find out which links work, it tries them with temp files in the directories
of a session. If it is killed, the next session removes them.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from .._dvc.repository.inspect_repository import (
    RepositoryFacts,
    find_working_links,
    inspect_repository,
)
from .._errors import RepositoryError
from .._fs.file_io import keeps_modes
from .._fs.paths import is_inside
from .._workspace.crash_recovery import FoundSession, find_sessions
from .._workspace.temp_session import TempSession
from .file_systems import Disk, disk_under, nearest_existing
from .lock_holders import LockHolder, find_lock_holders
from .remote_check import RemoteCheck, check_remote

LINKS = ("reflink", "hardlink", "symlink", "copy")
_NEEDED = ("dvc", "dvc-data", "dvc-objects", "anyio", "aiofiles", "ruamel.yaml", "click", "rich")
_OPTIONAL = ("trio", "uvloop", "dvclive", "opentelemetry-api")
# With less free space than this (bytes) there is a note: a checkpoint may be larger.
_LOW_SPACE = 2**30
# A message names so many paths.
_NAMED_PATHS = 3


@dataclass(frozen=True, slots=True)
class Links:
    """The types of links that work between the cache and the workspace.

    Attributes:
        working: those of ``LINKS`` that work.
        used: the type that DVC chooses by ``cache.type``; None: none of its types works.
        workspace_reflinks: whether a copy within the workspace can share blocks.
        cache_reflinks: whether a copy within the cache can share blocks.
    """

    working: tuple[str, ...]
    used: str | None
    workspace_reflinks: bool
    cache_reflinks: bool


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All facts, problems and notes. If ``problems`` is empty, artifacts can be logged."""

    versions: dict[str, str | None]
    """By distribution; None: it is not installed."""
    directory: str
    repository: RepositoryFacts | None = None
    workspace: Disk | None = None
    cache: Disk | None = None
    links: Links | None = None
    sessions: list[FoundSession] = field(default_factory=list)
    locks: list[LockHolder] = field(default_factory=list)
    remote: RemoteCheck | None = None
    """None: no remote was asked for, or there is no DVC repository."""
    problems: list[str] = field(default_factory=list)
    """Each keeps artifacts from being logged, or from being in the remote."""
    notes: list[str] = field(default_factory=list)
    """Worth knowing, but no problem."""


@dataclass(frozen=True, slots=True)
class _Messages:
    """The problems and notes found so far."""

    problems: list[str]
    notes: list[str] = field(default_factory=list)


def diagnose(
    directory: str, remote: str | None = None, *, abort_uploads: bool = False
) -> Diagnosis:
    """Examine the repository at or above ``directory``. Blocks; errors become problems.

    Args:
        directory: where the search for the repository begins.
        remote: the name of a remote to look into; None: no remote is contacted.
        abort_uploads: abort the open uploads to the remote.
    """
    versions = _versions()
    messages = _Messages(find_unfit_versions(versions, _requirements()))
    report = partial(
        Diagnosis,
        versions,
        os.path.abspath(directory),
        problems=messages.problems,
        notes=messages.notes,
    )
    try:
        repository = inspect_repository(os.path.realpath(directory))
    except RepositoryError as error:
        messages.problems.append(str(error))
        return report()
    except ImportError as error:
        messages.problems.append(f"DVC cannot be imported: {error}. Install it again.")
        return report()
    messages.problems.extend(repository.user_problems)
    _examine_git(messages, repository)
    workspace = _examine_disk(messages, "workspace", repository.root)
    if repository.dvc_dir is None:
        messages.notes.append(
            f"'{repository.root}' is a Git repository without DVC: the first session runs "
            "'dvc init' in it."
        )
        return report(repository, workspace)
    if os.path.islink(repository.dvc_dir) and repository.git_root is not None:
        target = os.path.realpath(repository.dvc_dir)
        if not is_inside(target, repository.git_root):
            messages.problems.append(
                f"'{repository.dvc_dir}' is a symbolic link to '{target}', which is outside of the "
                "Git repository. Move the directory here. To keep the cache elsewhere, run 'dvc "
                "cache dir'."
            )
    if repository.unreadable is not None:
        messages.problems.append(f"DVC cannot read its files: {repository.unreadable}")
    return report(
        repository,
        workspace,
        cache=_examine_disk(messages, "cache", repository.cache_dir),
        links=_try_links(messages, repository),
        sessions=_examine_sessions(messages, repository),
        locks=find_lock_holders(repository.lock, repository.tmp_dir),
        remote=None
        if remote is None
        else _examine_remote(messages, repository, remote, abort_uploads=abort_uploads),
    )


def _examine_remote(
    messages: _Messages, repository: RepositoryFacts, name: str, *, abort_uploads: bool
) -> RemoteCheck:
    check = check_remote(repository.root, repository.tmp_dir, name, abort_uploads=abort_uploads)
    if check.problem is not None:
        messages.problems.append(check.problem)
    for state, failed in (("are missing", check.missing), ("have wrong bytes", check.wrong)):
        if failed:
            paths = list(dict.fromkeys(each.path for each in failed))
            more = f" and {len(paths) - _NAMED_PATHS:,} more" if len(paths) > _NAMED_PATHS else ""
            messages.problems.append(
                f"{len(failed):,} objects {state} in the remote '{check.name}', of "
                f"{', '.join(map(repr, paths[:_NAMED_PATHS]))}{more}. Run 'asynclive push --remote "
                f"{check.name}'."
            )
    if check.open_uploads:
        messages.notes.append(
            f"{len(check.open_uploads)} uploads to the remote '{check.name}' are open. 'asynclive "
            "push' goes on with them, and --abort-uploads aborts them."
        )
    return check


def _examine_git(messages: _Messages, repository: RepositoryFacts) -> None:
    git = repository.git
    if git is None:
        return
    if git.unreadable is not None:
        messages.problems.append(git.unreadable)
    elif git.refused is not None and git.autostage:
        messages.problems.append(f"Files cannot be added to Git's index: {git.refused}")
    elif git.refused is not None:
        messages.notes.append(f"No DVC experiment can be saved here: {git.refused}")
    if git.lock is not None:
        messages.notes.append(
            f"A process holds the lock of Git's index, '{git.lock}'. If no git command runs, "
            "remove that file."
        )


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


def find_unfit_versions(
    versions: Mapping[str, str | None], requirements: Sequence[str]
) -> list[str]:
    """Return a problem for each installed version that does not meet its requirement."""
    from packaging.requirements import Requirement  # DVC requires packaging too

    problems = []
    for requirement in map(Requirement, requirements):
        version = versions.get(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if version is not None and not requirement.specifier.contains(version, prereleases=True):
            problems.append(
                f"{requirement.name} {version} is installed, and asynclive needs "
                f"{requirement.specifier}."
            )
    return problems


def _requirements() -> list[str]:
    try:
        return importlib.metadata.requires("asynclive") or []
    except importlib.metadata.PackageNotFoundError:  # it runs from a checkout
        return []


def _examine_disk(messages: _Messages, what: str, path: str) -> Disk | None:
    try:
        disk = disk_under(path)
    except OSError as error:
        messages.problems.append(
            f"The file system of the {what} '{path}' cannot be read: {error.strerror}"
        )
        return None
    if not disk.free_bytes or disk.inodes_free == 0:
        messages.problems.append(f"The disk of the {what} '{path}' is full.")
    elif disk.free_bytes < _LOW_SPACE:
        messages.notes.append(f"The disk of the {what} '{path}' has less than 1 GiB free.")
    if disk.local_locks is not None:
        messages.notes.append(
            f"The disk of the {what} '{path}' is mounted with {disk.local_locks}: each host grants "
            "itself all file locks. asynclive does not rely on them, but DVC does. Log into one "
            "repository from one host at a time, or mount the disk with locks."
        )
    return disk


def _try_links(messages: _Messages, repository: RepositoryFacts) -> Links | None:
    cache_dir = nearest_existing(repository.cache_dir)
    tmp_dir = nearest_existing(repository.tmp_dir)
    for what, path in (("cache", cache_dir), ("directory of temp files", tmp_dir)):
        if not os.path.isdir(path):
            messages.problems.append(f"The {what} '{path}' is not a directory.")
            return None
    try:
        with _temp_directories(cache_dir, tmp_dir) as (cache_tmp, workspace_tmp):
            working = find_working_links(cache_tmp, workspace_tmp, LINKS)
            protects_objects = keeps_modes(cache_tmp)
            workspace_reflinks, cache_reflinks = (
                bool(find_working_links(each, each, LINKS[:1]))
                for each in (workspace_tmp, cache_tmp)
            )
    except OSError as error:
        where = repository.cache_dir if error.filename is None else os.path.dirname(error.filename)
        messages.problems.append(f"'{where}' cannot be written to: {error.strerror or error}.")
        return None
    if not protects_objects:
        messages.notes.append(
            f"The cache '{repository.cache_dir}' cannot write-protect its objects: its file system "
            "refuses or ignores changes of permissions. Artifacts are logged all the same, and an "
            "object is read before it is used again. Do not edit files in the cache."
        )
    used = next((kind for kind in repository.cache_types if kind in working), None)
    if used is None:
        messages.problems.append(
            f"None of cache.type = {','.join(repository.cache_types)} works between the cache and "
            "the workspace. Run 'dvc config cache.type reflink,copy'."
        )
    return Links(working, used, workspace_reflinks, cache_reflinks)


@contextlib.contextmanager
def _temp_directories(cache_dir: str, tmp_dir: str) -> Iterator[tuple[str, str]]:
    """Make a temp directory in each one; afterwards remove them, and restore the timestamps."""
    times = {path: os.stat(path) for path in {cache_dir, tmp_dir}}
    try:
        session = TempSession.start(cache_dir, tmp_dir)
        try:
            yield session.cache_tmp, session.workspace_tmp
        finally:
            session.close()
    finally:
        for path, before in times.items():
            with contextlib.suppress(PermissionError):  # owned by another user of the group
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _examine_sessions(messages: _Messages, repository: RepositoryFacts) -> list[FoundSession]:
    other = os.path.join(os.path.dirname(repository.tmp_dir), "cache")
    sessions = find_sessions([repository.cache_dir, repository.tmp_dir, other])
    dead = [session for session in sessions if not session.living]
    if not dead:
        return sessions
    size = sum(session.size for session in dead)
    if repository.hardlink_lock:
        messages.notes.append(
            f"There may be temp files of sessions that were killed ({size:,} bytes). With "
            "core.hardlink_lock, asynclive cannot tell whether a session still runs, and does not "
            "remove them. If no session runs, remove them by hand, but keep files whose names end "
            "in '.moved': they were submitted with move=True and may not be logged."
        )
    else:
        messages.notes.append(
            f"Sessions that were killed have left {len(dead)} directories of temp files "
            f"({size:,} bytes). The next session removes them."
        )
    return sessions
