"""Reads facts of a repository through DVC, without changing the repository.

``dvc.repo.Repo`` makes directories, lines in ``.gitignore`` and a database when it is opened. Here
a ``Repo`` is built from its parts that only read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ..._artifact.push_records import PushRequest, PushUnit, RemoteDescription
from ..._errors import AsyncLiveError, RepositoryError, RepositoryNotFoundError
from ..._index.directory_watch import StatWatch
from ..._index.git_index import GitIndex
from ..._index.workspace_index import WorkspaceIndex
from ..dvc_errors import plain_text
from ..process_guard import preserve_process_settings
from ..remote.push_outputs import PushOutputs
from .git_checks import explain, libgit2_refusal
from .index_setup import make_dvc_rules
from .user_environment import (
    explain_environment,
    find_site_cache_problem,
    find_user_problem,
    site_cache_dir,
)


@dataclass(frozen=True, slots=True)
class RepositoryFacts:
    """The repository at a directory, as DVC knows it."""

    root: str
    """Root of the DVC repository; without one, of the Git repository."""
    dvc_dir: str | None
    """None: the first session creates it."""
    git_root: str | None = None
    tmp_dir: str = ""
    cache_dir: str = ""
    """Directory of the objects; it may not exist yet."""
    cache_types: tuple[str, ...] = ()
    """``cache.type``."""
    shared: str | None = None
    """``cache.shared``."""
    lock: str = ""
    """The file of DVC's lock."""
    hardlink_lock: bool = False
    """``core.hardlink_lock``: flock does not work here."""
    outputs: int | None = None
    """The number of outputs that DVC tracks; None: DVC cannot read its files."""
    user_problems: tuple[str, ...] = ()
    """The things that DVC needs of this user and does not find."""
    unreadable: str | None = None
    """Why DVC cannot read its files; None: it can."""
    git: GitFacts | None = None
    """None without Git."""


@dataclass(frozen=True, slots=True)
class GitFacts:
    """The limits of DVC's Git libraries in the Git repository."""

    unreadable: str | None
    """Why DVC cannot read Git's index; None: it can."""
    refused: str | None
    """Why libgit2 refuses the repository; None: it does not."""
    autostage: bool
    """``core.autostage``, which needs libgit2."""
    lock: str | None
    """The lock of Git's index, if a process holds it."""


def inspect_repository(directory: str) -> RepositoryFacts:
    """Return the facts of the repository at or above ``directory``. Changes nothing.

    Raises:
        RepositoryNotFoundError: there is neither a DVC nor a Git repository.
        RepositoryError: DVC cannot read its configuration.
    """
    if not os.path.isdir(directory):
        raise RepositoryError(directory, f"'{directory}' is not a directory.")
    with preserve_process_settings():
        from dvc.exceptions import NotDvcRepoError
        from dvc.repo import Repo

        try:
            root = Repo.find_root(directory)
        except NotDvcRepoError:
            git_root = _git_root(directory)
            if git_root is None:
                raise RepositoryNotFoundError(directory) from None
            facts = _read_git(git_root, autostage=True)  # by 'dvc init'
            return RepositoryFacts(
                git_root, None, git_root, git=facts, user_problems=_find_user_problems({})
            )
        try:
            return _read_facts(root)
        except OSError as error:
            raise RepositoryError(root, f"Cannot read '{root}': {error}") from error
        except Exception as error:
            reason = explain(error, root) or explain_environment(error, root) or plain_text(error)
            raise RepositoryError(root, f"DVC cannot open '{root}': {reason}") from error


def read_push_units(root: str, remote: str) -> tuple[RemoteDescription, list[PushUnit]]:
    """Return a remote, and what ``dvc push -r`` would push to it. Changes nothing.

    Args:
        root: the root of the DVC repository.
        remote: the name of the remote.

    Raises:
        RemoteNotFoundError: there is none of this name.
        PushError: DVC cannot use it, or a listing in the cache is damaged.
        RepositoryError: DVC cannot read its files.
    """
    with preserve_process_settings():
        from dvc.dvcfile import is_valid_filename

        repo = _read_only_repo(root)
        try:
            # Without inotify: the workspace is read once.
            index: WorkspaceIndex[Any] = WorkspaceIndex(root, StatWatch(is_valid_filename))
            outputs = PushOutputs(repo, index, make_dvc_rules(repo, None))
            description = outputs.describe_remote(remote)
            return description, outputs.read_units(outputs.plan(PushRequest(remote=remote)))
        except AsyncLiveError:
            raise
        except Exception as error:
            raise RepositoryError(
                root, f"DVC cannot read its files: {plain_text(error)}"
            ) from error


def find_working_links(cache_dir: str, workspace_dir: str, kinds: Sequence[str]) -> tuple[str, ...]:
    """Return those of ``kinds`` of links that work from one directory to the other.

    Each is tried with a temp file, which is then removed.

    Raises:
        OSError: a directory cannot be written to.
    """
    with preserve_process_settings():
        from dvc.fs import localfs
        from dvc_objects.fs.generic import test_links

        link = os.path.join(workspace_dir, "0")
        return tuple(test_links(list(kinds), localfs, cache_dir, localfs, link))


def _read_facts(root: str) -> RepositoryFacts:
    repo = _read_only_repo(root)
    cache, config = repo.cache.local, repo.config
    outputs, unreadable = None, None
    try:
        outputs = sum(1 for _ in repo.index.outs)
    except Exception as error:
        unreadable = plain_text(error)
    git_root = _git_root(root) if not config["core"].get("no_scm") else None
    return RepositoryFacts(
        root=root,
        dvc_dir=repo.dvc_dir,
        git_root=git_root,
        tmp_dir=repo.tmp_dir,
        cache_dir=cache.path,
        cache_types=tuple(cache.cache_types),
        shared=config["cache"].get("shared"),
        lock=os.path.join(repo.tmp_dir, "lock"),
        hardlink_lock=bool(config["core"].get("hardlink_lock")),
        user_problems=_find_user_problems(config["core"]),
        outputs=outputs,
        unreadable=unreadable,
        git=None
        if git_root is None
        else _read_git(git_root, autostage=bool(config["core"].get("autostage"))),
    )


def _find_user_problems(core: Mapping[str, Any]) -> tuple[str, ...]:
    problems = find_user_problem(), find_site_cache_problem(site_cache_dir(core))
    return tuple(filter(None, problems))


def _read_git(git_root: str, *, autostage: bool) -> GitFacts:
    from dvc.scm import Git

    with closing(Git(git_root)) as git:
        dulwich = git.dulwich.repo
        unreadable = None
        try:
            GitIndex(dulwich, git_root).reload()
        except RepositoryError as error:
            unreadable = str(error)
        lock = f"{dulwich.index_path()}.lock"
        return GitFacts(
            unreadable, libgit2_refusal(git), autostage, lock if os.path.lexists(lock) else None
        )


def _read_only_repo(root: str) -> Any:
    """Return a ``Repo`` with the attributes that ``Repo.__init__`` sets, but without its writes."""
    from dvc.cachemgr import CacheManager
    from dvc.fs import localfs
    from dvc.lock import LockNoop
    from dvc.repo import Repo
    from dvc.repo.datasets import Datasets
    from dvc.repo.stage import StageLoad
    from dvc_data.hashfile.state import StateNoop

    repo: Any = Repo.__new__(Repo)
    repo.url = repo._scm = repo._config = repo._remote = repo._remote_config = None
    repo._data_index = None
    repo._fs, repo._fs_conf = localfs, {"repo_factory": None}
    repo._uninitialized = repo.subrepos = repo._wait_for_lock = False
    repo.root_dir, repo.dvc_dir = root, os.path.join(root, Repo.DVC_DIR)
    repo.stage_collection_error_handler = None
    repo._lock_depth = 0
    repo.lock, repo.state = LockNoop(), StateNoop()
    repo.stage, repo.cache = StageLoad(repo), CacheManager(repo)
    repo.datasets = Datasets(repo)
    return repo


def _git_root(directory: str) -> str | None:
    from dvc.scm import Git
    from scmrepo.exceptions import SCMError

    try:
        git = Git(directory)
    except SCMError:
        return None
    try:
        root: str = git.root_dir
        return root
    finally:
        git.close()
