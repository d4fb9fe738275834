"""core.autostage: adds the files of a group to Git's index, as ``dvc add`` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..._artifact.request import ArtifactRequest
from ..._errors import AsyncLiveError, CommitError, LockTimeoutError
from ..._fs.paths import is_inside
from ..dvc_errors import plain_text, translate_error, with_cause
from .commit_undo import DvcFileReplaced, HiddenFromGit


class GitStaging:
    """Adds files to Git's index. Git replaces the index while it holds a lock file next to it.

    Args:
        repo: DVC's ``Repo``.
        lock: the path of that lock file.
    """

    def __init__(self, repo: Any, lock: str) -> None:
        self._repo = repo
        self.lock = lock
        self.was_locked = False
        """Whether another process held the lock at the last attempt."""

    @classmethod
    def for_repo(cls, repo: Any) -> GitStaging | None:
        """Return an object for ``repo``; None if ``core.autostage`` is not set."""
        from dvc.scm import NoSCM

        if isinstance(repo.scm, NoSCM) or not repo.scm_context.autostage:
            return None
        return cls(repo, f"{repo.scm.dulwich.repo.index_path()}.lock")

    def is_locked(self) -> bool:
        """Return whether another process holds the lock now."""
        self.was_locked = os.path.lexists(self.lock)
        return self.was_locked

    def add_group(self) -> None:
        """Add the files that DVC has noted for this group.

        Raises:
            Exception: none of them was added.
        """
        self._add(list(self._repo.scm_context.files_to_track))

    def add(self, undo: Sequence[object]) -> None:
        """Add the files that these steps of one commit wrote; remove those that are missing.

        Raises:
            Exception: none of them was added.
        """
        self._add(_files_for_git(undo))

    def _add(self, paths: Sequence[str]) -> None:
        if not paths:
            return
        try:
            self._repo.scm_context.add(paths)
        except AssertionError:
            # DVC skips files in submodules. If that leaves none, it fails.
            if not all(map(self._is_in_submodule, paths)):
                raise

    def _is_in_submodule(self, path: str) -> bool:
        scm = self._repo.scm
        return any(
            is_inside(os.path.abspath(path), os.path.join(scm.root_dir, submodule))
            for submodule in scm.list_submodules()
        )

    def is_lock_error(self, error: Exception) -> bool:
        """Return whether ``error`` says that another process holds the lock."""
        from dulwich.file import FileLocked

        is_lock_error = isinstance(error, FileLocked)
        self.was_locked |= is_lock_error
        return is_lock_error

    def error_for(self, request: ArtifactRequest, error: Exception) -> AsyncLiveError:
        """Return the error of an artifact that was taken back because ``add`` raised ``error``."""
        if self.is_lock_error(error):
            return with_cause(LockTimeoutError(0, self.lock), error)
        if isinstance(error, AsyncLiveError | OSError):
            return translate_error(request, error)
        reason = f"'git add' failed (core.autostage): {type(error).__name__}: {plain_text(error)}"
        return with_cause(CommitError(request.path, reason), error)


def _files_for_git(undo: Sequence[object]) -> list[str]:
    """Return the .dvc file and the .gitignore that the steps of one commit wrote."""
    return [
        step.path
        if isinstance(step, DvcFileReplaced)
        else os.path.join(os.path.dirname(step.path), ".gitignore")
        for step in undo
        if isinstance(step, DvcFileReplaced | HiddenFromGit)
    ]
