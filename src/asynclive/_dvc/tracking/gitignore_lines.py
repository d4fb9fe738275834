"""Adds DVC's lines to .gitignore, and removes a new one by truncating the file to its old length.

A truncation needs no space on a full disk. A kill leaves the file with the line or without it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any

from ..._index.gitignore_rules import GitIgnore

# Limit on the appends recorded for one file: only those of the current group are ever undone, and a
# group has at most so many artifacts (MAX_GROUP in group_commit).
MAX_APPENDS = 256

_Stamp = tuple[int, int, int]
"""Inode, size and mtime (ns)."""
_Append = tuple[_Stamp | None, _Stamp, str]
"""The file before the append (None: it was missing) and after it, and the line."""


@dataclass(slots=True)
class AppendUndo:
    """Records appends to files, and undoes them, the newest one of a file first."""

    _appends: dict[str, deque[_Append]] = field(default_factory=dict)

    @contextmanager
    def record_append(self, path: str, line: str = "") -> Iterator[None]:
        """Record that the block appends ``line`` to the file, which may be missing.

        If the block raises, the file gets its old length back.
        """
        before = _stat_stamp(path)
        try:
            yield
        except BaseException:
            # A full disk may have taken a part of the bytes.
            _truncate(path, before)
            raise
        after = _stat_stamp(path)
        if after is not None:
            self._appends.setdefault(path, deque(maxlen=MAX_APPENDS)).append((before, after, line))

    def undo_last(self, path: str, line: str = "") -> bool:
        """Undo the newest append to the file.

        Return False if the file changed after it, or it appended another line.
        """
        appends = self._appends.pop(path, None)
        if not appends:
            return False
        before, after, appended = appends.pop()
        if appended != line or after != _stat_stamp(path):
            return False
        _truncate(path, before)
        now = _stat_stamp(path)
        if appends and appends[-1][1] == before and now is not None:
            # The append before this one is the newest now. Only the file's mtime differs from it.
            appends[-1] = appends[-1][0], now, appends[-1][2]
            self._appends[path] = appends
        return True


def _truncate(path: str, before: _Stamp | None) -> None:
    """Cut the file to the length in ``before``; remove it if it was missing."""
    if before is not None:
        os.truncate(path, before[1])
    elif os.path.lexists(path):
        os.unlink(path)


def _stat_stamp(path: str) -> _Stamp | None:
    try:
        entry = os.stat(path)
    except FileNotFoundError:
        return None
    return entry.st_ino, entry.st_size, entry.st_mtime_ns


# Private names of scmrepo and dulwich that GitignorePatch relies on. tests/contract says whether
# the installed versions fit. GitIgnore checks the attributes that only dulwich's objects have.
REQUIRED = (
    "scmrepo.git:GitWildMatchPattern.escape",
    "scmrepo.git:Git.dulwich",
    "scmrepo.git:Git._add_entry_to_gitignore",
    "scmrepo.git:Git._get_gitignore",
    "scmrepo.git:Git.ignore_remove",
    "dulwich.ignore:IgnoreFilter",
    "dulwich.ignore:IgnoreFilterManager.from_repo",
    "dulwich.ignore:read_ignore_patterns",
)


def missing_names(required: Sequence[str] = REQUIRED) -> list[str]:
    """Return the names that the installed versions of scmrepo and dulwich lack."""
    return [name for name in required if not _exists(name)]


def _exists(name: str) -> bool:
    try:
        resolve_name(name)
    except (AttributeError, ImportError):
        return False
    return True


class GitignorePatch:
    """Changes .gitignore through ``GitIgnore`` instead of scmrepo, in one Git repository.

    scmrepo reads the whole file for each line that it adds, and empties the file before it removes
    a line. ``install`` replaces these two methods of the object ``scm``, not of its class.

    Args:
        scm: scmrepo's ``Git``.

    Raises:
        AttributeError: the installed versions of scmrepo and dulwich do not fit.
    """

    def __init__(self, scm: Any) -> None:
        import dulwich.ignore
        import scmrepo.git

        self.gitignore = GitIgnore(dulwich.ignore, scm.dulwich.repo)
        self._scm = scm
        self._escape = scmrepo.git.GitWildMatchPattern.escape
        self._add_by_scmrepo = scm._add_entry_to_gitignore
        self._remove_by_scmrepo = scm.ignore_remove
        self._appends = AppendUndo()

    @classmethod
    def for_scm(cls, scm: Any) -> GitignorePatch | None:
        """Return the patch, or None if the installed versions of scmrepo and dulwich do not fit."""
        if missing_names():
            return None
        try:
            return cls(scm)
        except AttributeError:
            return None

    def install(self) -> None:
        """Let ``scm`` add and remove lines through this object."""
        self._scm._add_entry_to_gitignore = self.add_entry
        self._scm.ignore_remove = self.remove_entry

    def uninstall(self) -> None:
        """Give ``scm`` the methods of its class back."""
        for name in ("_add_entry_to_gitignore", "ignore_remove"):
            vars(self._scm).pop(name, None)

    def add_entry(self, entry: str, path: str) -> None:
        """Add the line ``entry`` to the .gitignore ``path``, byte for byte as scmrepo does."""
        directory = os.path.dirname(path)
        with self._appends.record_append(path, entry):
            if not self.gitignore.file(directory).add(self._escape(entry)):
                self._add_by_scmrepo(entry, path)
                self.gitignore.forget(directory)

    def remove_entry(self, ignored: str) -> str | None:
        """Remove the line that hides ``ignored``; return the .gitignore if it still exists.

        Several lines should be removed in the reverse order of their addition: scmrepo removes
        another than the newest.
        """
        entry, path = self._scm._get_gitignore(ignored)
        # scmrepo empties the file before it writes the other lines: on a full disk they are lost.
        if not self._appends.undo_last(path, entry):
            changed: str | None = self._remove_by_scmrepo(ignored)
            return changed
        return path if os.path.exists(path) else None
