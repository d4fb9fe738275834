"""Saves DVC experiments, as ``dvc exp save`` does, while other sessions log artifacts.

``dvc exp save`` puts the changes of the workspace into Git's stash for a while: another session
loses the artifacts that it logs then, a second save fails, and a failure leaves the user's edits in
the stash. Here the commit of the experiment is made without a change of the workspace.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from logging import getLogger
from typing import Any

from ..._errors import ExperimentError, LockTimeoutError
from ..dvc_errors import plain_text
from ..process_guard import dvc_guard, mute_dvc
from ..tracking.git_staging import GitStaging
from .experiment_stages import SavedStages, save_stages, top_level_files
from .git_checks import libgit2_refusal
from .repository_lock import RepositoryLock, WorkspaceStashes
from .workspace_commit import GitError, WorkspaceCommit, check_identity

logger = getLogger(__name__)

_EXISTS = (
    "an experiment of this name exists already. Pass another name, or run 'dvc exp remove {}'."
)


def experiment_name(repo: Any, name: str | None) -> str:
    """Return the name that an experiment will have; None: a random one.

    Raises:
        ExperimentError: no experiment can be saved here, or none of this name.
    """
    from dvc.exceptions import InvalidArgumentError
    from dvc.repo.experiments.refs import ExpRefInfo
    from dvc.repo.experiments.utils import check_ref_format, get_random_exp_name
    from dvc.scm import NoSCM

    scm = repo.scm
    if isinstance(scm, NoSCM):
        raise ExperimentError(name, "there is no Git repository. Run 'git init' and 'git commit'.")
    # Before libgit2 is used, which raises another error here: scmrepo goes on with it then.
    has_no_commits = scm.no_commits
    if reason := libgit2_refusal(scm):
        raise ExperimentError(name, reason)
    if has_no_commits:
        raise ExperimentError(name, "Git has no commit yet. Run 'git commit'.")
    try:
        check_identity(scm.root_dir)
    except GitError as error:
        raise ExperimentError(name, f"{error}.") from error
    baseline = _baseline(scm)
    if name is None:
        random_name: str = get_random_exp_name(scm, baseline)
        return random_name
    ref = ExpRefInfo(baseline_sha=baseline, name=name)
    try:
        if not name:
            raise InvalidArgumentError("the name is empty")
        check_ref_format(scm, ref)
    except InvalidArgumentError as error:
        raise ExperimentError(name, f"{plain_text(error)}.") from error
    if scm.get_ref(str(ref)):
        raise ExperimentError(name, _EXISTS.format(name))
    return name


def save_experiment(
    repo: Any,
    name: str,
    message: str | None,
    include: Sequence[str],
    *,
    lock_timeout: float | None,
    force: bool = False,
    recorded: Collection[str] = (),
) -> str:
    """Save the workspace as an experiment; return the SHA of its commit. Blocks.

    Nothing in the workspace changes, nor does Git's index. Saves of all sessions take turns.

    Args:
        repo: DVC's ``Repo``. Its lock is free.
        name: of the experiment.
        message: of its Git commit; None: DVC's.
        include: files that it holds although Git does not track them; absolute.
        lock_timeout: seconds to wait for DVC's lock; None: no limit.
        force: whether to replace an experiment of this name.
        recorded: .dvc files to take as they are, whatever their outputs are by now.

    Raises:
        ExperimentError: DVC or Git refused, or the lock was held all the time.
    """
    from dvc.repo.experiments.refs import ExpRefInfo

    end = None if lock_timeout is None else time.monotonic() + lock_timeout
    left, sha = lock_timeout, None
    try:
        while sha is None:
            with _locked(repo, left):
                baseline = _baseline(repo.scm)
                ref = str(ExpRefInfo(baseline_sha=baseline, name=name))
                sha = _commit(repo, baseline, ref, message, include, recorded, force=force)
            if sha is None:
                left = _wait(end, lock_timeout)
    except Exception as error:
        raise ExperimentError(
            name,
            f"{plain_text(error).rstrip('.') or type(error).__name__}. The logged artifacts are "
            "tracked anyway; run 'dvc exp save'.",
        ) from error
    _push_if_configured(repo, ref)
    return sha


def _wait(end: float | None, lock_timeout: float | None) -> float | None:
    """Wait a moment, in which DVC may restore the workspace; return the seconds that are left.

    Raises:
        LockTimeoutError: none are left.
    """
    if end is None or lock_timeout is None:
        left = None
    else:
        left = end - time.monotonic()
        if left <= 0:
            raise LockTimeoutError(lock_timeout)
    time.sleep(random.uniform(0.1, 0.3))  # nothing tells this process when it has
    return left


def _commit(
    repo: Any,
    baseline: str,
    ref: str,
    message: str | None,
    include: Sequence[str],
    recorded: Collection[str],
    *,
    force: bool,
) -> str | None:
    """Make the commit of an experiment; return its SHA, or None if it must be made again.

    It must if DVC stashed the workspace or HEAD moved at the same time.
    """
    stashes = WorkspaceStashes(repo)
    if stashes.are_made:
        return None
    # Outside of the repository: a process that is killed leaves nothing in it.
    with tempfile.TemporaryDirectory(prefix="asynclive-") as directory:
        git = repo.scm.dulwich.repo
        try:
            commit = WorkspaceCommit(repo.scm.root_dir, git.index_path(), directory)
            stages = _take_workspace(repo, commit, directory, include, recorded)
        except Exception:
            if stashes.are_made:
                return None  # the reason is a workspace that was half restored
            raise
        if stashes.are_made or _baseline(repo.scm) != baseline:
            return None
        sha = commit.write(baseline, message or f"dvc: commit experiment {stages.hash}")
        if not commit.set_ref(ref, sha, force=force):
            raise GitError(_EXISTS.format(os.path.basename(ref)))
        return sha


def _take_workspace(
    repo: Any,
    commit: WorkspaceCommit,
    directory: str,
    include: Sequence[str],
    recorded: Collection[str],
) -> SavedStages:
    """Put the files into the commit that ``dvc exp save`` puts there."""
    from dvc.dvcfile import LOCK_FILE

    # dvc.lock needs no `dvc add`, so a new one is easily forgotten.
    lock_file = os.path.join(repo.scm.root_dir, LOCK_FILE)
    if os.path.exists(lock_file) and not repo.scm.is_ignored(lock_file):
        include = [*include, lock_file]
    included = {os.path.realpath(path) for path in include}
    stages = save_stages(
        repo,
        lambda path: path in commit or path in included,
        {*map(os.path.realpath, recorded)},
        directory,
    )
    commit.update()
    # Another `dvc exp save` may have staged its arguments.
    commit.drop(repo.experiments.args_file)
    commit.add([*include, *top_level_files(repo)])
    commit.replace(stages.texts)
    return stages


def stage_for_git(repo: Any, paths: Sequence[str], lock_timeout: float | None) -> None:
    """Add files to Git's index, as DVCLive does, so that ``dvc exp run`` includes them.

    Args:
        repo: DVC's ``Repo``. Its lock is free.
        paths: absolute.
        lock_timeout: seconds to wait for DVC's lock and that of Git's index; None: no limit.

    Raises:
        ExperimentError: Git refused.
    """
    if not paths:
        return
    try:
        with _locked(
            repo, lock_timeout, GitStaging(repo, f"{repo.scm.dulwich.repo.index_path()}.lock")
        ):
            repo.scm.add([*paths])
    except Exception as error:
        raise ExperimentError(None, plain_text(error)) from error


@contextlib.contextmanager
def _locked(repo: Any, lock_timeout: float | None, git: GitStaging | None = None) -> Iterator[None]:
    """Hold DVC's lock. Then this thread may call DVC, until the end of the block.

    Args:
        repo: DVC's ``Repo``.
        lock_timeout: seconds to wait for the lock; None: no limit.
        git: tells whether the lock of Git's index is free too; None: it need not be.

    Raises:
        LockTimeoutError: another process held it all the time.
    """
    with RepositoryLock(repo, git).hold(lock_timeout), dvc_guard.hold(), mute_dvc():
        repo._reset()
        try:
            yield
        finally:
            repo._reset()


def _baseline(scm: Any) -> str:
    """Return the commit that an experiment starts from: HEAD.

    While DVC saves another experiment in the workspace, HEAD is that experiment for a moment.
    """
    from dvc.repo.experiments.refs import EXEC_BASELINE

    head: str = scm.get_rev()
    baseline: str | None = scm.get_ref(EXEC_BASELINE)
    is_detached = scm.get_ref("HEAD", follow=False) == head
    if baseline and is_detached and scm.resolve_commit(head).parents == [baseline]:
        return baseline
    return head


def _push_if_configured(repo: Any, ref: str) -> None:
    """Push a saved experiment, as DVC does with ``exp.auto_push``."""
    from dvc.env import DVC_EXP_AUTO_PUSH, DVC_EXP_GIT_REMOTE
    from dvc.repo.experiments.executor.base import BaseExecutor
    from dvc.utils import env2bool

    with dvc_guard.hold(), mute_dvc():
        config = repo.config.get("exp", {})
        if not env2bool(DVC_EXP_AUTO_PUSH, config.get("auto_push", False)):
            return
        remote = os.getenv(DVC_EXP_GIT_REMOTE, config.get("git_remote", "origin"))
        try:
            BaseExecutor._validate_remotes(repo, remote)
            repo.experiments.push(remote, ref, push_cache=True, run_cache=True)
        except Exception as error:
            logger.warning(
                "The experiment is saved, but was not pushed to '%s': %s", remote, plain_text(error)
            )
