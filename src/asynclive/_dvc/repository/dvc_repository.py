"""One open DVC repository: every call of asynclive into DVC, one thread at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Any

from ..._artifact.push_records import PushRequest, PushUnit, RemoteDescription
from ..._artifact.records import StagedArtifact, StoredFile, TrackedArtifact
from ..._errors import AsyncLiveError, LockTimeoutError
from ..._fs.file_lock import FileLock
from ..._fs.fsync import Sync
from ..._fs.paths import is_inside
from ..._index.directory_watch import Watch
from ..._index.workspace_index import WorkspaceIndex
from ..._workspace.source_scan import IgnoreFilter
from ..dvc_errors import unreadable_error
from ..process_guard import dvc_guard, preserve_process_settings
from ..remote.by_dvc.record_versions import RecordedOutput, record_versions
from ..remote.push_outputs import PushOutputs
from ..tracking.committer import Committer
from ..tracking.dvc_state import OpenDatabases, State
from ..tracking.git_staging import GitStaging
from .git_checks import check_autostage
from .index_setup import default_watches, make_dvc_rules, open_git_index, patch_gitignore
from .open_repository import open_repo, read_layout, remove_dead, start_session, state_databases
from .repository_lock import RepositoryLock
from .save_experiment import experiment_name, save_experiment, stage_for_git


class DvcRepository:
    """One open DVC repository.

    Blocks; call it in a worker thread. The methods hold ``dvc_guard`` while they are in DVC's code.

    Args:
        repo: DVC's ``Repo``.
        watches: the ways to see changes in the workspace, in the order in which they are tried;
            None: those that this system supports.
        durable: as in ``open``.
    """

    def __init__(
        self, repo: Any, watches: Sequence[Watch] | None = None, *, durable: bool = False
    ) -> None:
        self._repo = repo
        sync = Sync(repo.root_dir if durable else None)
        with contextlib.ExitStack() as undo:
            undo.callback(repo.close)
            git_index = open_git_index(repo)
            check_autostage(repo)
            self.session = start_session(repo, sync)
            undo.callback(self.session.close)
            self.layout = read_layout(repo, self.session, sync)
            git_staging = GitStaging.for_repo(repo, self.session.cache_tmp)
            self._lock = RepositoryLock(repo, git_staging)
            self._gitignore_patch = patch_gitignore(repo)
            if self._gitignore_patch is not None:
                undo.callback(self._gitignore_patch.uninstall)
            self._rules = make_dvc_rules(repo, self._gitignore_patch)
            self._index: WorkspaceIndex[Any] = WorkspaceIndex(
                self.layout.root, *(default_watches() if watches is None else watches)
            )
            self._committer = Committer(
                repo,
                self.layout,
                index=self._index,
                rules=self._rules,
                git_index=git_index,
                git_staging=git_staging,
            )
            self._push_outputs = PushOutputs(repo, self._index, self._rules)
            self._state = State(repo, links=bool(self.layout.links))
            self._is_index_refreshed = False
            self._databases = OpenDatabases()
            self._databases.open(state_databases(repo))
            undo.pop_all()

    @classmethod
    def open(cls, root: str, *, durable: bool = False) -> DvcRepository:
        """Open the DVC repository at or above ``root``; in a Git repository without one, create it.

        Temp files of sessions that were killed are removed.

        Args:
            root: the directory in which the search starts.
            durable: whether written files must be on disk before the next step.

        Raises:
            RepositoryNotFoundError: there is neither a DVC nor a Git repository.
            RepositoryError: DVC cannot open the repository.
            StorageError: the file system failed.
        """
        with dvc_guard.hold(), preserve_process_settings():
            repo = open_repo(root)
        # Before anything is written: the temp files may fill the disk. Outside of the guard: there
        # may be many, and other sessions of this process must not wait for their removal.
        remove_dead(repo, Sync(repo.root_dir if durable else None))
        with dvc_guard.hold(), preserve_process_settings():
            return cls(repo, durable=durable)

    def close(self) -> None:
        """Remove this session's temp files and close the repository."""
        with dvc_guard.hold():
            self.session.close()
            self._index.close()
            if self._gitignore_patch is not None:
                self._gitignore_patch.uninstall()
            self._repo.close()
            self._databases.close()

    def ignore_filter(self, replaced: str | None = None) -> IgnoreFilter:
        """Return DVC's ignore rules of this moment. Safe in any thread: it shares no state.

        Args:
            replaced: the path of a copy that will be replaced. Rules in it do not count.
        """
        from dvc.ignore import DvcIgnoreFilter

        fs = self._repo.fs
        if replaced is not None:
            fs = copy(fs)
            fs.exists = partial(_exists_outside, self._repo.fs, replaced)
        ignore: IgnoreFilter = DvcIgnoreFilter(fs, self._repo.root_dir)
        return ignore

    def acquire(self) -> bool:
        """Acquire DVC's repository lock if it is free now; return whether this process holds it.

        Never waits.

        Raises:
            StorageError: the lock file cannot be created or opened.
        """
        return self._lock.acquire()

    def timeout_error(self, lock_timeout: float) -> LockTimeoutError:
        """Return the error for a wait of ``lock_timeout`` seconds: it names the lock."""
        return self._lock.timeout_error(lock_timeout)

    def break_seconds(self) -> float:
        """Return for how long all sessions must leave the lock free for `dvc` commands."""
        return self._lock.break_seconds()

    def release(self) -> None:
        """Release DVC's lock as soon as no thread is in DVC's code."""
        self._lock.release()

    def pipeline_owner(self, path: str) -> tuple[str, bool] | None:
        """Return the address of the stage whose output ``path`` is, and whether it has a command.

        None: it is the output of no stage.

        Raises:
            RepositoryError: DVC cannot read its files.
        """
        with dvc_guard.hold():
            try:
                self._rules.reset()
                owner = self._index.refresh(self._rules).owner(path)
            except Exception as error:
                raise unreadable_error(self.layout.root, error) from error
            return None if owner is None else (owner.stage.addressing, owner.stage.cmd is not None)

    def commit(self, group: Sequence[StagedArtifact]) -> list[TrackedArtifact | AsyncLiveError]:
        """Track each artifact that can be tracked; return the others' errors in their places.

        The caller holds DVC's lock. An artifact with an error leaves no change behind. A
        ``LockTimeoutError`` says that another process holds the lock of Git's index.
        """
        with dvc_guard.hold():
            try:
                return self._commit(group)
            finally:
                self._repo._reset()

    def take_back(self, tracked: TrackedArtifact) -> None:
        """Undo the commit of one artifact that cannot be recorded, all that can be undone.

        The caller has held DVC's lock since the commit. It takes back the last artifact first.
        """
        with dvc_guard.hold():
            try:
                self._committer.take_back(tracked)
            finally:
                self._repo._reset()

    def describe_remote(self, name: str | None) -> RemoteDescription:
        """Return the remote of this name; None: the default remote.

        Raises:
            RemoteNotFoundError: there is none of this name, or no default remote.
            RemoteAccessError: DVC cannot use it.
        """
        with dvc_guard.hold():
            return self._push_outputs.describe_remote(name)

    def units_to_push(self, request: PushRequest) -> list[PushUnit]:
        """Return what a push of ``request`` consists of. Safe in any worker thread.

        Raises:
            ArtifactPathError: a target is not tracked by DVC.
            RemoteNotFoundError: a remote is not configured.
            PushError: DVC cannot use a remote, or a listing in the cache is damaged.
            RepositoryError: DVC cannot read its files.
        """
        with dvc_guard.hold():
            try:
                planned = self._push_outputs.plan(request)
            except AsyncLiveError:
                raise
            except Exception as error:
                raise unreadable_error(self.layout.root, error) from error
            finally:
                self._repo._reset()
        return self._push_outputs.read_units(planned)

    def unit_of_tracked(self, tracked: TrackedArtifact, remote: str | None) -> PushUnit | None:
        """Return the unit of an artifact after its commit; None: DVC does not push it.

        Safe in any worker thread.

        Raises:
            PushError: as of ``units_to_push``.
        """
        with dvc_guard.hold():
            planned = self._push_outputs.plan_tracked(tracked, remote)
        if planned is None:
            return None
        return self._push_outputs.read_unit_of(planned, tracked.staged)

    def unit_of_staged(self, staged: StagedArtifact, remote: str | None) -> PushUnit | None:
        """Return the unit of an artifact before its commit; None: DVC will not push it.

        The listing of a directory is stored for that. Nothing refers to it before the commit.
        Another commit may change the listing of a directory that contains the artifact: push
        ``unit_of_tracked`` too, after the commit. Safe in any worker thread.

        Raises:
            AsyncLiveError: the commit would refuse the artifact, or as of ``units_to_push``.
        """
        if not staged.request.cache:
            return None
        with dvc_guard.hold():
            try:
                output, md5 = self._committer.prepare(staged)
                planned = self._push_outputs.plan_prepared(staged, output, md5, remote)
            finally:
                self._repo._reset()
        if planned is None:
            return None
        return self._push_outputs.read_unit_of(planned, staged)

    def record_versions(
        self, lock_timeout: float | None, remote: str, outputs: Sequence[RecordedOutput]
    ) -> None:
        """Write the versions of pushed files into ``.dvc`` files, under DVC's lock.

        Blocks until the lock is free. Call it in another thread than that of ``release``: the
        session may hold the lock.

        Args:
            lock_timeout: seconds to wait for DVC's lock; None: no limit.
            remote: the name of the remote.
            outputs: the outputs; those that have changed since are left alone.

        Raises:
            LockTimeoutError: another process held the lock all the time.
            StorageError: the lock file cannot be created or opened.
            RepositoryError: DVC cannot read or write its files.
        """
        with self._lock.hold(lock_timeout), dvc_guard.hold():
            try:
                self._rules.reset()
                # As `dvc push` does, which adds nothing to Git's index.
                with self._repo.scm_context(autostage=False, quiet=True):
                    record_versions(self._repo, remote, outputs)
            except Exception as error:
                raise unreadable_error(self.layout.root, error) from error
            finally:
                self._repo._reset()

    def _commit(self, group: Sequence[StagedArtifact]) -> list[TrackedArtifact | AsyncLiveError]:
        results = self._committer.commit(group)
        self._state.save_group([each for each in results if isinstance(each, TrackedArtifact)])
        return results

    @property
    def root(self) -> str:
        return self.layout.root

    def dvcyaml_lock(self) -> FileLock:
        """Return the lock for reading or replacing dvc.yaml while another writer is active."""
        return FileLock(os.path.join(self._repo.tmp_dir, "asynclive.dvcyaml"))

    def experiment_functions(self) -> tuple[Callable[..., str], Callable[..., None]]:
        """Return the functions for a Live that has a Repo of its own."""
        return save_experiment, stage_for_git

    def experiment_name(self, name: str | None) -> str:
        """Return the name that an experiment will have; None: a random one.

        Raises:
            ExperimentError: no experiment can be saved here, or none of this name.
        """
        with dvc_guard.hold():
            return experiment_name(self._repo, name)

    def save_experiment(
        self, name: str, message: str | None, include: Sequence[str], lock_timeout: float | None
    ) -> None:
        """Save the workspace as an experiment. Nothing in the workspace changes.

        Args:
            name: as ``experiment_name`` returned it.
            message: of its Git commit; None: DVC's.
            include: files that it holds although Git does not track them. Their .dvc files are
                those that this session has recorded.
            lock_timeout: seconds to wait for DVC's lock; None: no limit.

        Raises:
            ExperimentError: DVC or Git refused, or the lock was held all the time.
        """
        save_experiment(
            self._repo, name, message, include, lock_timeout=lock_timeout, recorded=include
        )

    def stage_for_git(self, paths: Sequence[str], lock_timeout: float | None) -> None:
        """Add files to Git's index, so that ``dvc exp run`` includes them in its experiment.

        Raises:
            ExperimentError: Git refused.
        """
        stage_for_git(self._repo, paths, lock_timeout)

    def save_hashes(self, path: str, files: Sequence[StoredFile]) -> None:
        """Save the hashes of files that will lie in ``path`` to DVC's state.

        Runs without DVC's lock, while other artifacts are staged. DVC compares a row with the
        inode, mtime and size of the file: a row has no effect if its file never takes its place.
        """
        with dvc_guard.hold():
            self._refresh_index_early()
            self._state.save_files(path, files)

    def _refresh_index_early(self) -> None:
        """Refresh the index once, while artifacts are staged and without DVC's lock.

        The first commit then finds only the changes since, and holds the lock for less time.
        """
        if not self._is_index_refreshed:
            self._is_index_refreshed = True
            with contextlib.suppress(Exception):  # the commit meets the same error, and raises it
                self._rules.reset()
                self._index.refresh(self._rules)


def _exists_outside(fs: Any, directory: str, path: str) -> bool:
    """Return whether ``path`` exists and is not in ``directory``."""
    return not is_inside(path, directory) and bool(fs.exists(path))
