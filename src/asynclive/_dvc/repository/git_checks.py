"""Finds what DVC's Git libraries cannot use, and says what to do. Called on entering."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from ..._errors import LockTimeoutError, RepositoryError
from ..._index.git_index import GitIndex
from ..dvc_errors import plain_text

_READERS = {
    os.path.join("dulwich", "config.py"): "Git's configuration",
    os.path.join("dulwich", "ignore.py"): "A .gitignore, or another file with rules of Git,",
}


def explain(error: Exception, git_root: str) -> str | None:
    """Return what an error of DVC's Git libraries means, and what to do; None: that is unknown."""
    text = plain_text(error)
    if "not owned by current user" in text:
        advice = (
            f"Git's repository '{git_root}' belongs to another user, and libgit2, which DVC uses, "
            f"refuses it. Run 'git config --global --add safe.directory {git_root}'."
        )
        # Git itself obeys these variables.
        if any(name.startswith("GIT_CONFIG") for name in os.environ):
            advice += " libgit2 reads '~/.gitconfig', and no variable like GIT_CONFIG_GLOBAL."
        return advice
    if type(error).__name__ == "UnsupportedExtension":  # of dulwich
        name = f"extensions.{text}"
        return (
            f"Git's repository '{git_root}' has {name}, which dulwich, which DVC uses, does not "
            f"know. Run 'git config --unset {name.partition(' ')[0]}' if nothing needs it."
        )
    for path in _files_in_traceback(error):
        for reader, what in _READERS.items():
            if path.endswith(reader):
                return f"{what} cannot be read: {text}. Run 'git status' in '{git_root}'."
    return None


def _files_in_traceback(error: Exception) -> Iterator[str]:
    at = error.__traceback__
    while at is not None:
        yield at.tb_frame.f_code.co_filename
        at = at.tb_next


def libgit2_refusal(scm: Any) -> str | None:
    """Return why libgit2 cannot open the repository, and what to do; None: it can.

    DVC uses it to add files to Git's index, and to save experiments.

    Args:
        scm: scmrepo's ``Git``.
    """
    try:
        # Not scm.list_submodules(): scmrepo would then prefer libgit2 for its next calls too.
        scm.pygit2.list_submodules()
    except Exception as error:
        unknown = f"libgit2, which DVC uses, cannot open Git's repository: {plain_text(error)}."
        return explain(error, scm.root_dir) or unknown
    return None


def check_autostage(repo: Any) -> None:
    """Check that DVC can add files to Git's index, if ``core.autostage`` is set.

    Raises:
        RepositoryError: it cannot.
    """
    if not repo.scm_context.autostage:
        return
    reason = libgit2_refusal(repo.scm)
    git_dir = os.path.dirname(repo.scm.dulwich.repo.index_path())
    as_this_user = os.access in os.supports_effective_ids
    if reason is None and not os.access(git_dir, os.W_OK, effective_ids=as_this_user):
        reason = f"'{git_dir}' cannot be written to."
    if reason is not None:
        raise RepositoryError(
            repo.root_dir,
            f"core.autostage cannot add files to Git's index: {reason} To do without it, run 'dvc "
            "config core.autostage false'.",
        )


def check_before_init(scm: Any) -> None:
    """Check that Git works here, before ``dvc init`` creates files and adds them to the index.

    Raises:
        RepositoryError: it does not.
        LockTimeoutError: another process holds the lock of Git's index.
    """
    GitIndex(scm.dulwich.repo, scm.root_dir).reload()
    if reason := libgit2_refusal(scm):
        raise RepositoryError(scm.root_dir, f"'dvc init' cannot run: {reason}")
    lock = f"{scm.dulwich.repo.index_path()}.lock"
    if os.path.lexists(lock):
        raise LockTimeoutError(0, lock)
