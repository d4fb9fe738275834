"""Takes back what was added to the end of a file, by cutting it to the length it had.

That needs no room on a full disk, and a kill leaves the file with the addition or without it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..._index.gitignore_rules import GitIgnore

MAX_ADDITIONS = 256

_Stamp = tuple[int, int, int]


@dataclass(slots=True)
class AppendUndo:
    """Remembers of each file what was added last, and before that."""

    _additions: dict[str, deque[tuple[_Stamp | None, _Stamp]]] = field(default_factory=dict)

    @contextmanager
    def adding(self, path: str) -> Iterator[None]:
        """The block adds to the file, which may be missing; if it fails, nothing is added."""
        before = _stamp(path)
        try:
            yield
        except BaseException:
            # A disk that is full may have taken a part of it.
            _cut(path, before)
            raise
        after = _stamp(path)
        if after is not None:
            # A group of artifacts is taken back at most.
            self._additions.setdefault(path, deque(maxlen=MAX_ADDITIONS)).append((before, after))

    def take_back(self, path: str) -> bool:
        """Undo what was added last; False: the file is not as that has left it."""
        additions = self._additions.pop(path, None)
        if not additions:
            return False
        before, after = additions.pop()
        if after != _stamp(path):
            return False
        _cut(path, before)
        now = _stamp(path)
        if additions and additions[-1][1] == before and now is not None:
            # As the one before has left it, but for the time.
            additions[-1] = additions[-1][0], now
            self._additions[path] = additions
        return True


def _cut(path: str, before: _Stamp | None) -> None:
    if before is not None:
        os.truncate(path, before[1])
    elif os.path.lexists(path):
        os.unlink(path)


def _stamp(path: str) -> _Stamp | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def patched_gitignore(repo: Any) -> GitIgnore | None:
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
    appended = AppendUndo()

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
