"""Opens a repository: DVC's ``Repo``, a session in it, and the layout of its cache."""

from __future__ import annotations

import contextlib
import os
import warnings
from importlib import import_module
from logging import getLogger
from typing import Any

from ..._cache.cache_layout import CacheLayout
from ..._errors import (
    AsyncLiveError,
    LockTimeoutError,
    RepositoryError,
    RepositoryNotFoundError,
    StorageError,
)
from ..._fs.atomic_rename import can_rename_between
from ..._fs.file_io import keeps_modes
from ..._fs.fsync import Sync
from ..._fs.paths import is_inside
from ..._workspace.crash_recovery import remove_dead_sessions
from ..._workspace.temp_session import TempSession
from ..dvc_errors import plain_text
from ..process_guard import mute_logger
from .git_checks import check_before_init, explain
from .user_environment import explain_environment

logger = getLogger(__name__)


def open_repo(root: str) -> Any:
    """Return DVC's ``Repo`` at or above ``root``, as DVCLive does (``dvclive.dvc.get_dvc_repo``).

    In a Git repository without DVC, run ``dvc init`` first.

    Raises:
        AsyncLiveError: DVC or Git cannot work here.
        LockTimeoutError: ``dvc init`` is needed, and another process holds the lock of Git's index.
    """
    from dulwich.file import FileLocked
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import Git, SCMError
    from scmrepo.exceptions import SCMError as GitSCMError

    # The first commit needs these. Imported here, they do not delay it.
    with warnings.catch_warnings():  # the import changes the warning filters of the process
        import_module("ruamel.yaml")
    import_module("fsspec.implementations.memory")
    if not os.path.isdir(root):
        raise RepositoryError(root, f"'{root}' is not a directory. Pass root= with one that is.")
    try:
        try:
            return Repo(root)
        except (NotDvcRepoError, SCMError) as unopened:
            try:
                git = Git(root)
            except GitSCMError as error:
                raise RepositoryNotFoundError(root) from error
            check_before_init(git)
            _refuse_existing(root, git.root_dir, unopened)
            with mute_logger("dvc.repo.init"):
                return Repo.init(git.root_dir)
    except AsyncLiveError:
        raise
    except OSError as error:
        if reason := explain(error, root) or explain_environment(error, root):
            raise RepositoryError(root, reason) from error
        raise StorageError(root, error) from error
    except FileLocked as error:
        raise LockTimeoutError(0, os.fsdecode(error.lockfilename)) from error
    except Exception as error:  # of DVC, of scmrepo, and of the Git libraries below it
        reason = explain(error, root) or explain_environment(error, root) or plain_text(error)
        raise RepositoryError(
            root, f"DVC cannot open its repository at '{root}': {reason}"
        ) from error


def _refuse_existing(root: str, git_root: str, unopened: Exception) -> None:
    """Raise if there is a ``.dvc`` that DVC cannot open. It would advise to initialise with ``-f``,
    which removes it.

    Args:
        root: the directory in which the search starts.
        git_root: the directory in which the search ends.
        unopened: the error of opening the repository.
    """
    while is_inside(root, git_root):
        path = os.path.join(root, ".dvc")
        if os.path.lexists(path):
            reason = f"DVC cannot open its repository at '{root}': {plain_text(unopened)}."
            if os.path.islink(path):
                reason += (
                    f" '{path}' is a symbolic link to '{os.readlink(path)}', and in a Git "
                    "repository it must be a directory. Move the directory here. To keep the cache "
                    "elsewhere, run 'dvc cache dir'."
                )
            raise RepositoryError(root, reason) from unopened
        root = os.path.dirname(root)


def remove_dead(repo: Any, sync: Sync) -> None:
    """Remove the temp files of sessions that were killed."""
    from dvc.lock import HardlinkLock

    # With core.hardlink_lock, flock does not work on this file system. So asynclive cannot tell
    # whether a session that a forked child carries on still runs.
    if not isinstance(repo.lock, HardlinkLock):
        remove_dead_sessions([repo.cache.local.path, *_tmp_dirs(repo)], sync)


def start_session(repo: Any, sync: Sync) -> TempSession:
    """Make the session's directories of temp files, in the cache and next to the workspace.

    Raises:
        StorageError: the cache cannot be written to.
    """
    cache, (tmp_dir, other_dir) = repo.cache.local, _tmp_dirs(repo)
    try:
        cache.makedirs(cache.path)
        sync.up_to_mount_point(cache.path)
        _sync_settings(sync, repo)
        # DVC's own temp directory may be on another file system: DVC renames no file out of it.
        if not can_rename_between(tmp_dir, repo.root_dir):
            cache.makedirs(other_dir)
            if can_rename_between(other_dir, repo.root_dir):
                tmp_dir = other_dir
        session = TempSession.start(cache.path, tmp_dir, sync)
        try:
            session.start_heartbeat()
        except BaseException:
            session.close()
            raise
        return session
    except OSError as error:
        raise StorageError(cache.path, error) from error


def _tmp_dirs(repo: Any) -> list[str]:
    """Return the directories for temp files that will be renamed into the workspace.

    Git ignores both.
    """
    return [repo.tmp_dir, os.path.join(os.path.dirname(repo.tmp_dir), "cache")]


def _sync_settings(sync: Sync, repo: Any) -> None:
    """Wait until the files that ``dvc init`` writes are on disk: this session may have run it."""
    from dvc.ignore import DvcIgnore

    for name in ("config", ".gitignore"):
        with contextlib.suppress(FileNotFoundError):
            sync.file(os.path.join(repo.dvc_dir, name))
    with contextlib.suppress(FileNotFoundError):
        sync.file(os.path.join(repo.root_dir, DvcIgnore.DVCIGNORE_FILE))
    for directory in sync.with_parents([repo.dvc_dir]):
        sync.directory(directory)


def read_layout(repo: Any, session: TempSession, sync: Sync) -> CacheLayout:
    """Return the layout of the cache, with the links that work between it and the workspace.

    Raises:
        StorageError: a link cannot be tried.
    """
    from dvc_objects.fs.generic import test_links
    from dvc_objects.fs.utils import umask

    cache = repo.cache.local
    types = list(cache.cache_types)
    link = os.path.join(session.workspace_tmp, "0")
    try:
        links = test_links(types, cache.fs, session.cache_tmp, repo.fs, link)
        protects_objects = keeps_modes(session.cache_tmp)
        workspace_keeps_modes = keeps_modes(session.workspace_tmp)
    except OSError as error:
        raise StorageError(cache.path, error) from error
    if not links:  # `dvc add` tracks a file in this case too, and warns each time
        logger.warning(
            "None of cache.type = %s works between the cache '%s' and '%s': files are tracked, and "
            "stay in the workspace as they are. Run 'dvc config cache.type reflink,copy'.",
            ",".join(types),
            cache.path,
            repo.root_dir,
        )
    if not protects_objects:
        logger.info(
            "The disk of the cache '%s' does not let files be write-protected. An object is read "
            "before it is used again.",
            cache.path,
        )
    return CacheLayout(
        root=repo.root_dir,
        cache_dir=cache.path,
        types=tuple(cache.cache_types),
        links=tuple(links),
        object_mode=cache.CACHE_MODE,
        dir_mode=cache._dir_mode,
        file_mode=cache._file_mode,
        umask=umask,
        cache_tmp=session.cache_tmp,
        workspace_tmp=session.workspace_tmp,
        protects_objects=protects_objects,
        keeps_modes=workspace_keeps_modes,
        sync=sync,
    )


def state_databases(repo: Any) -> list[str]:
    """Return the paths of DVC's state databases; none if DVC keeps no state in SQLite."""
    caches = [getattr(repo.state, name, None) for name in ("hashes", "links")]
    return [os.path.join(cache.directory, "cache.db") for cache in caches if cache is not None]
