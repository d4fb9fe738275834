"""core.autostage: adds the files of a group to Git's index, as ``dvc add`` does."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from logging import getLogger
from typing import Any

from ..._artifact.request import ArtifactRequest
from ..._errors import AsyncLiveError, CommitError, LockTimeoutError
from ..._fs.file_io import remove_file
from ..._fs.paths import is_inside
from ..dvc_errors import plain_text, translate_error, with_cause
from .commit_undo import DvcFileReplaced, HiddenFromGit

logger = getLogger(__name__)

# Seconds between the attempts to take the lock while a group commits, under DVC's lock.
DELAYS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032)

# The first bytes of our own lock file. The path of the session's temp directory follows.
_OURS = b"asynclive "


class GitStaging:
    """Adds files to Git's index. Git replaces the index while it holds a lock file next to it.

    Args:
        repo: DVC's ``Repo``.
        session: a directory that exists as long as this session, or until it is found killed.
    """

    def __init__(self, repo: Any, session: str) -> None:
        self._repo = repo
        self._session = session
        self._index: str = repo.scm.dulwich.repo.index_path()
        self._copy = f"{self._index}.asynclive"
        self.lock = f"{self._index}.lock"
        self.was_locked = False
        """Whether another process held the lock at the last attempt."""

    @classmethod
    def for_repo(cls, repo: Any, session: str) -> GitStaging | None:
        """Return an object for ``repo``; None if ``core.autostage`` is not set."""
        from dvc.scm import NoSCM

        if isinstance(repo.scm, NoSCM) or not repo.scm_context.autostage:
            return None
        return cls(repo, session)

    def is_locked(self) -> bool:
        """Return whether another process holds the lock now. Remove that of a killed session."""
        self.was_locked = os.path.lexists(self.lock) and not self._remove_if_stale()
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
            with self._locked_copy():
                self._repo.scm_context.add(paths)
        except AssertionError:
            # DVC skips files in submodules. If that leaves none, it fails.
            if not all(map(self._is_in_submodule, paths)):
                raise

    @contextlib.contextmanager
    def _locked_copy(self) -> Iterator[None]:
        """Let DVC write to a copy of the index, which then replaces it. Hold the lock until then.

        dulwich takes the lock to write, but reads the index before that. The files that a git
        command adds in between would be lost.
        """
        dulwich, copy = self._repo.scm.dulwich.repo, self._copy
        lock = self._take_lock()
        try:
            try:
                os.write(lock, _OURS + os.fsencode(self._session))
            finally:
                os.close(lock)
            remove_file(f"{copy}.lock")  # dulwich's own, if a session was killed
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(self._index, copy)
            dulwich.index_path = lambda: copy
            try:
                yield
            finally:
                del dulwich.index_path
            if os.path.exists(copy):
                # Git renames its lock file. Ours stays: after a kill its text tells whose it is.
                os.replace(copy, self._index)
        finally:
            remove_file(copy)
            remove_file(self.lock)

    def _take_lock(self) -> int:
        """Create the lock file, and return its descriptor.

        Most git commands hold it for some milliseconds. Waiting for these costs less than taking
        the group back.
        """
        from dulwich.file import FileLocked

        for delay in DELAYS:
            with contextlib.suppress(FileExistsError):
                return os.open(self.lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            time.sleep(delay)
        raise FileLocked(self._index, self.lock)

    def _remove_if_stale(self) -> bool:
        """Remove the lock that a killed session of asynclive left; return whether it was one."""
        if not self._is_stale(self.lock):
            return False
        # Another session may remove it too, and a git command may then make its own. So we rename
        # it to a name that only this session uses, and look at it again.
        taken = f"{self.lock}.{os.path.basename(self._session)}"
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            os.rename(self.lock, taken)
            is_stale = self._is_stale(taken)
            if not is_stale:
                os.link(taken, self.lock)
            remove_file(taken)
            if is_stale:
                logger.info("Removed '%s' of a session that was killed.", self.lock)
        return not os.path.lexists(self.lock)

    @staticmethod
    def _is_stale(lock: str) -> bool:
        try:
            with open(lock, "rb") as file:
                content = file.read(len(_OURS) + 4096)
        except OSError:
            return False
        return content.startswith(_OURS) and not os.path.exists(content.removeprefix(_OURS))

    def _is_in_submodule(self, path: str) -> bool:
        scm = self._repo.scm
        return any(
            is_inside(os.path.abspath(path), os.path.join(scm.root_dir, submodule))
            for submodule in scm.pygit2.list_submodules()
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
