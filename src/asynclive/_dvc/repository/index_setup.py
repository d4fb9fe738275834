"""What DVC and Git know of the workspace, asked in ways that do not walk it each time."""

from __future__ import annotations

import os
from typing import Any

from ..._index.directory_watch import ByStamps, Watch
from ..._index.dvc_rules import Dvc, WorkspaceDeclarations
from ..._index.git_index import GitIndex
from ..._index.gitignore_rules import GitIgnore
from ..._index.inotify import open_inotify
from ..tracking.gitignore_lines import Appended


def default_watches() -> list[Watch]:
    """In the order in which they are tried."""
    from dvc.dvcfile import is_valid_filename

    inotify = open_inotify()
    by_stamps = ByStamps(is_valid_filename)
    return [by_stamps] if inotify is None else [inotify, by_stamps]


def declarations(repo: Any) -> WorkspaceDeclarations:
    from dvc.dvcfile import PROJECT_FILE, is_valid_filename
    from dvc.ignore import DvcIgnoreFilter
    from dvc.repo.index import Index
    from dvc.scm import NoSCM

    has_git = not isinstance(repo.scm, NoSCM)
    return WorkspaceDeclarations(
        repo,
        Dvc(PROJECT_FILE, is_valid_filename, Index.from_file, DvcIgnoreFilter),
        has_git=has_git,
        gitignore=_gitignore(repo) if has_git else None,
    )


def git_index(repo: Any) -> GitIndex | None:
    from dvc.scm import NoSCM

    if isinstance(repo.scm, NoSCM):
        return None
    return GitIndex(repo.scm.dulwich.repo, repo.scm.root_dir)


def _gitignore(repo: Any) -> GitIgnore | None:
    """In the place of dulwich's answers and scmrepo's lines; None: they are made differently."""
    import dulwich.ignore
    import scmrepo.git

    scm = repo.scm
    try:
        escape, add_by_scmrepo = scmrepo.git.GitWildMatchPattern.escape, scm._add_entry_to_gitignore
        gitignore_of, remove_by_scmrepo = scm._get_gitignore, scm.ignore_remove
        gitignore = GitIgnore(dulwich.ignore, scm.dulwich.repo)
    except AttributeError:
        return None
    appended = Appended()

    def add(entry: str, path: str) -> None:
        directory = os.path.dirname(path)
        with appended.adding(path):
            if not gitignore.file(directory).add(escape(entry)):
                add_by_scmrepo(entry, path)
                gitignore.forget(directory)

    def remove(ignored: str) -> Any:
        # scmrepo would empty the file before it writes the other lines.
        _, path = gitignore_of(ignored)
        if not appended.take_back(path):
            return remove_by_scmrepo(ignored)
        return path if os.path.exists(path) else None

    scm._add_entry_to_gitignore, scm.ignore_remove = add, remove
    return gitignore
