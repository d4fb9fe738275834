"""What DVC and Git know of the workspace, asked in ways that do not walk it each time."""

from __future__ import annotations

from typing import Any

from ..._index.directory_watch import StatWatch, Watch
from ..._index.dvc_rules import DvcFunctions, DvcRules
from ..._index.git_index import GitIndex
from ..._index.inotify import open_inotify
from ..tracking.gitignore_lines import patched_gitignore


def default_watches() -> list[Watch]:
    """In the order in which they are tried."""
    from dvc.dvcfile import is_valid_filename

    inotify = open_inotify()
    by_stamps = StatWatch(is_valid_filename)
    return [by_stamps] if inotify is None else [inotify, by_stamps]


def declarations(repo: Any) -> DvcRules:
    from dvc.dvcfile import PROJECT_FILE, is_valid_filename
    from dvc.ignore import DvcIgnoreFilter
    from dvc.repo.index import Index
    from dvc.scm import NoSCM

    has_git = not isinstance(repo.scm, NoSCM)
    return DvcRules(
        repo,
        DvcFunctions(PROJECT_FILE, is_valid_filename, Index.from_file, DvcIgnoreFilter),
        has_git=has_git,
        gitignore=patched_gitignore(repo) if has_git else None,
    )


def git_index(repo: Any) -> GitIndex | None:
    from dvc.scm import NoSCM

    if isinstance(repo.scm, NoSCM):
        return None
    return GitIndex(repo.scm.dulwich.repo, repo.scm.root_dir)
