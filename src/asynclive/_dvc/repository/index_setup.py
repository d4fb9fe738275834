"""Builds the workspace index of one repository, and DVC's and Git's rules that it asks."""

from __future__ import annotations

from typing import Any

from ..._index.directory_watch import StatWatch, Watch
from ..._index.dvc_rules import DvcFunctions, DvcRules
from ..._index.git_index import GitIndex
from ..._index.inotify import open_inotify
from ..tracking.gitignore_lines import GitignorePatch


def default_watches() -> list[Watch]:
    """Return the ways to see changes in the workspace, in the order in which they are tried."""
    from dvc.dvcfile import is_valid_filename

    inotify = open_inotify()
    stat_watch = StatWatch(is_valid_filename)
    return [stat_watch] if inotify is None else [inotify, stat_watch]


def patch_gitignore(repo: Any) -> GitignorePatch | None:
    """Return an installed patch; None without Git, or if its libraries do not fit."""
    patch = GitignorePatch.for_scm(repo.scm) if _has_git(repo) else None
    if patch is not None:
        patch.install()
    return patch


def make_dvc_rules(repo: Any, patch: GitignorePatch | None) -> DvcRules:
    from dvc.dvcfile import PROJECT_FILE, is_valid_filename
    from dvc.ignore import DvcIgnoreFilter
    from dvc.repo.index import Index

    return DvcRules(
        repo,
        DvcFunctions(PROJECT_FILE, is_valid_filename, Index.from_file, DvcIgnoreFilter),
        has_git=_has_git(repo),
        gitignore=None if patch is None else patch.gitignore,
    )


def open_git_index(repo: Any) -> GitIndex | None:
    """Return the index of the Git repository, as it is now; None without Git.

    Raises:
        RepositoryError: DVC cannot use this index.
    """
    if not _has_git(repo):
        return None
    index = GitIndex(repo.scm.dulwich.repo, repo.scm.root_dir)
    index.reload()
    return index


def _has_git(repo: Any) -> bool:
    from dvc.scm import NoSCM

    return not isinstance(repo.scm, NoSCM)
