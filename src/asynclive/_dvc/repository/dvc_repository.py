"""One DVC repository, opened: what asynclive asks of it, and who may be in DVC meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, TypeVar

from ..._artifact.records import StagedArtifact, StoredFile, TrackedArtifact
from ..._errors import AsyncLiveError
from ..._fs.file_lock import FileLock
from ..._fs.fsync import Sync
from ..._fs.paths import is_inside
from ..._index.directory_watch import Watch
from ..._index.workspace_index import WorkspaceIndex
from ..._workspace.source_scan import IgnoreFilter
from ..dvc_errors import unreadable_error
from ..process_guard import dvc_guard, preserve_process_settings
from ..tracking.committer import Committer
from ..tracking.dvc_state import OpenDatabases, State
from .index_setup import default_watches, make_dvc_rules, open_git_index, patch_gitignore
from .open_repository import open_repo, read_layout, remove_dead, start_session, state_databases
from .repository_lock import RepositoryLock
from .save_experiment import experiment_name, save_experiment, stage_for_git

T = TypeVar("T")


class DvcRepository:
    """One DVC repository, opened.

    Args:
        watches: how changes in the workspace are found, in the order in which it is tried;
            None: as this system can.
        durable: as in ``open``.
    """

    def __init__(
        self, repo: Any, watches: Sequence[Watch] | None = None, *, durable: bool = False
    ) -> None:
        self._repo = repo
        sync = Sync(repo.root_dir if durable else None)
        with contextlib.ExitStack() as undo:
            undo.callback(repo.close)
            self.session = start_session(repo, sync)
            undo.callback(self.session.close)
            self.layout = read_layout(repo, self.session, sync)
            self._lock = RepositoryLock(repo)
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
                git_index=open_git_index(repo),
            )
            self._state = State(repo, links=bool(self.layout.links))
            self._looked = False
            self._databases = OpenDatabases()
            self._databases.hold(state_databases(repo))
            undo.pop_all()

    @classmethod
    def open(cls, root: str, *, durable: bool = False) -> DvcRepository:
        """Open the repository at or above ``root``; in a Git repository without one, make it.

        What dead sessions left in it is removed.

        Args:
            root: where it is looked for, upwards.
            durable: whether what is written has to be on the disk before the next step is taken.

        Raises:
            RepositoryNotFoundError: there is none, and no Git repository.
            RepositoryError: there is one, and DVC cannot open it.
            StorageError: the disk refused.
        """
        with dvc_guard.hold(), preserve_process_settings():
            repo = open_repo(root)
        # Before anything is written, for it may be what fills the disk; and while others of this
        # process go on, for it may be much.
        remove_dead(repo, Sync(repo.root_dir if durable else None))
        with dvc_guard.hold(), preserve_process_settings():
            return cls(repo, durable=durable)

    def close(self) -> None:
        """Remove this session's temp files and let the repository go."""
        with dvc_guard.hold():
            self.session.close()
            self._index.close()
            if self._gitignore_patch is not None:
                self._gitignore_patch.uninstall()
            self._repo.close()
            self._databases.close()

    def ignore_filter(self, replaced: str | None = None) -> IgnoreFilter:
        """DVC's ignore rules as they are now. Safe in any thread: it shares nothing.

        Args:
            replaced: a copy that is to be replaced. What lies in it now has no say.
        """
        from dvc.ignore import DvcIgnoreFilter

        fs = self._repo.fs
        if replaced is not None:
            fs = copy(fs)
            fs.exists = lambda path: not is_inside(path, replaced) and self._repo.fs.exists(path)
        ignore: IgnoreFilter = DvcIgnoreFilter(fs, self._repo.root_dir)
        return ignore

    def acquire(self) -> bool:
        """Take DVC's repository lock if it is free at this moment; whether it was.

        Raises:
            StorageError: its file cannot be made or opened.
        """
        return self._lock.acquire()

    def break_seconds(self) -> float:
        """For how long all sessions are to leave the lock free, for `dvc` commands to find it."""
        return self._lock.break_seconds()

    def release(self) -> None:
        """Give DVC's lock back, once no thread is in DVC any more."""
        self._lock.release()

    def pipeline_owner(self, path: str) -> tuple[str, bool] | None:
        """The stage that ``path`` is an output of: its address, and whether it runs a command."""
        with dvc_guard.hold():
            try:
                self._rules.reset()
                owner = self._index.refresh(self._rules).owner(path)
            except Exception as error:
                raise unreadable_error(self.layout.root, error) from error
            return None if owner is None else (owner.stage.addressing, owner.stage.cmd is not None)

    def commit(self, group: Sequence[StagedArtifact]) -> list[TrackedArtifact | AsyncLiveError]:
        """Track every artifact of the group that can be; the others' errors in their places.

        The caller holds DVC's lock. An artifact with an error has left nothing behind.
        """
        with dvc_guard.hold():
            try:
                return self._commit(group)
            finally:
                self._repo._reset()

    def take_back(self, tracked: TrackedArtifact) -> None:
        """Undo the commit of one artifact that cannot be recorded, all that can be undone.

        The caller still holds DVC's lock since the commit. It takes back the last artifact first.
        """
        with dvc_guard.hold():
            try:
                self._committer.take_back(tracked)
            finally:
                self._repo._reset()

    def _commit(self, group: Sequence[StagedArtifact]) -> list[TrackedArtifact | AsyncLiveError]:
        results = self._committer.commit(group)
        self._state.save_group([done for done in results if isinstance(done, TrackedArtifact)])
        return results

    @property
    def root(self) -> str:
        return self.layout.root

    def turn(self) -> FileLock:
        """Held for a look at dvc.yaml where somebody writes into it, or for a change of it."""
        return FileLock(os.path.join(self._repo.tmp_dir, "asynclive.dvcyaml"))

    def alone(self, func: Callable[[], T]) -> T:
        """Call what calls DVC's code, while nobody else of this process does."""
        with dvc_guard.hold():
            return func()

    def experiment_name(self, name: str | None) -> str:
        """The name that an experiment will have; None: a random one is made.

        Raises:
            ExperimentError: no experiment can be saved here, or not by this name.
        """
        return self.alone(lambda: experiment_name(self._repo, name))

    def save_experiment(self, name: str, message: str | None, include: Sequence[str]) -> None:
        """Save the workspace as an experiment, while nobody commits.

        Args:
            name: as ``experiment_name`` gave it.
            message: of its Git commit; None: DVC's.
            include: files that are to be in it though Git does not track them.

        Raises:
            ExperimentError: DVC refused.
        """
        self.alone(lambda: save_experiment(self.layout.root, name, message, include))

    def stage_for_git(self, paths: Sequence[str]) -> None:
        """Have the experiment that ``dvc exp run`` saves later hold these files too.

        Raises:
            ExperimentError: Git refused.
        """
        self.alone(lambda: stage_for_git(self._repo, paths))

    def save_hashes(self, path: str, files: Sequence[StoredFile]) -> None:
        """Tell DVC's state of files that will lie in ``path``, while others are still staged.

        It needs no lock: what it says of a file that does not come to be there is never asked.
        """
        with dvc_guard.hold():
            self._look_ahead()
            self._state.save_files(path, files)

    def _look_ahead(self) -> None:
        """Look at the workspace while others stage, without DVC's lock.

        The first commit, which would do it otherwise, finds what has changed since.
        """
        if not self._looked:
            self._looked = True
            with contextlib.suppress(Exception):  # the commit meets it again, and says so
                self._rules.reset()
                self._index.refresh(self._rules)
