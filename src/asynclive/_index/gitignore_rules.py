"""Which names .gitignore hides, at a cost that does not grow with the lines that DVC adds.

DVC adds a line like ``/name`` for each artifact, and dulwich matches every path against every line.
Such a line decides about one name in one directory. So this module finds it by that name, and gives
dulwich only this line and the lines of other kinds, in their order. The answer is dulwich's.
"""

from __future__ import annotations

import io
import os
import re
import stat
from dataclasses import dataclass
from typing import Any

from .._fs.file_io import write_all
from .._fs.safe_open import open_beneath

# "/name", without a wildcard that is not escaped, and without another slash.
_LITERAL = re.compile(rb"/((?:[^\\/*?\[]|\\[^/])+)", re.DOTALL)
_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def can_be_gitignored(name: str) -> bool:
    """Return whether the line that DVC writes for a name hides that name from Git.

    Git removes spaces and a carriage return from the end of a line, and a line feed ends it. A name
    with these would make a line that hides another name.
    """
    return "\n" not in name and not name.endswith((" ", "\r"))


class GitIgnore:
    """Replaces dulwich's ``IgnoreFilterManager`` of a repository.

    Args:
        dulwich: the module ``dulwich.ignore``.
        repo: dulwich's ``Repo``.

    Raises:
        AttributeError: this version of dulwich lacks an attribute that is used here.
    """

    def __init__(self, dulwich: Any, repo: Any) -> None:
        self._dulwich = dulwich
        self._repo = repo
        self._files: dict[str, IgnoreFile] = {}
        # The files that were read again since the last ``reload``.
        self._fresh_files: dict[str, IgnoreFile] = {}
        self._state = _ManagerState.of(dulwich, repo)
        # Fail here, and not in the middle of a session, if dulwich lacks these.
        vars(dulwich.IgnoreFilter([]))["_patterns"].copy()
        self._state.manager._path_filters.copy()

    def reload(self) -> bool:
        """Read each file again when it is next needed.

        Returns:
            Whether rules outside the work tree changed.
        """
        self._fresh_files.clear()
        before = self._state.outside_rules
        self._state = _ManagerState.of(self._dulwich, self._repo)
        return self._state.outside_rules != before

    def is_ignored(self, path: str) -> bool | None:
        """Return dulwich's answer: None if no rule matches ``path``.

        Args:
            path: relative to the work tree; with a separator at its end it is a directory.
        """
        parts = path.replace(os.sep, "/").split("/")
        last = self._file_in("/".join(parts[:-1]))
        if last.readable and last.rules.end_with(parts[-1]):
            return True  # as in Git: no other file and no earlier line can change that
        filters = {}
        for depth, name in enumerate(parts):
            directory = "/".join(parts[:depth])
            file = self._file_in(directory)
            if file.readable:
                filters[directory] = file.rules.filter_for(name)
        # dulwich itself reads the files that are not in this mapping.
        manager = self._state.manager
        manager._path_filters = filters
        answer: bool | None = manager.is_ignored(path)
        return answer

    def __getattr__(self, name: str) -> Any:
        """Get all other attributes from a new manager of dulwich, which reads every line."""
        return getattr(self._dulwich.IgnoreFilterManager.from_repo(self._repo), name)

    def file(self, directory: str) -> IgnoreFile:
        """Return the .gitignore of an absolute ``directory``, read since the last ``reload``."""
        return self._file_in(self._relative(directory))

    def forget(self, directory: str | None = None) -> None:
        """Read the .gitignore of ``directory`` again: it was written to.

        None: drop all cached rules.
        """
        if directory is None:
            self._files.clear()
            self._fresh_files.clear()
        else:
            self._fresh_files.pop(self._relative(directory), None)

    def _relative(self, directory: str) -> str:
        relative = os.path.relpath(directory, self._state.top).replace(os.sep, "/")
        return "" if relative == os.curdir else relative

    def _file_in(self, directory: str) -> IgnoreFile:
        file = self._fresh_files.get(directory)
        if file is None:
            file = self._files.get(directory)
            if file is None:
                top, ignorecase = self._state.top, self._state.ignorecase
                path = os.path.join(top, directory, ".gitignore")
                file = self._files[directory] = IgnoreFile(self._dulwich, path, ignorecase, top)
            file.refresh()
            self._fresh_files[directory] = file
        return file


@dataclass(frozen=True, slots=True)
class _ManagerState:
    """A manager of dulwich, and the settings and rules that it read outside the work tree."""

    manager: Any
    top: str
    ignorecase: bool
    outside_rules: tuple[bool, list[list[bytes]]]

    @classmethod
    def of(cls, dulwich: Any, repo: Any) -> _ManagerState:
        manager = dulwich.IgnoreFilterManager.from_repo(repo)
        ignorecase = manager._ignorecase
        patterns = [
            [bytes(pattern) for pattern in rules._patterns] for rules in manager._global_filters
        ]
        return cls(manager, manager._top_path, ignorecase, (ignorecase, patterns))


class IgnoreFile:
    """One .gitignore, which may be missing."""

    def __init__(self, dulwich: Any, path: str, ignorecase: bool, root: str | None = None) -> None:
        self.path = path
        self.root = root
        self.readable = True
        self.rules = _Rules(dulwich, path, ignorecase)
        self._ignorecase = ignorecase
        self._changed_names: set[str] | None = set()
        self._was_read = False

    def take_changed_names(self) -> set[str] | None:
        """Return the names in this directory whose rules changed since the last call.

        None: the rules for any path below may have changed.
        """
        names, self._changed_names = self._changed_names, set()
        return names if self.readable else None

    def refresh(self) -> None:
        """Read the file, and parse only the lines that are new."""
        content = _read(self.path)
        if content is None:
            self.readable = False
            return
        if not self.readable:
            self.readable = True
            self.rules = self.rules.emptied()
            self._changed_names = None
        if content != self.rules.content:
            self._changed_names = _union(self._changed_names, self._update(content))
        if not self._was_read:
            self._changed_names = set()  # no answer was based on the rules before this read
        self._was_read = True

    def _update(self, content: bytes) -> set[str] | None:
        """Replace the content, and return the names whose rules changed; None: any name."""
        before = self.rules
        if before.ends_a_line() and content.startswith(before.content):
            names = before.append(content[len(before.content) :])
        else:
            self.rules = before.emptied()
            self.rules.append(content)
            names = self.rules.changed_names(before)
        # If case does not count, a line also decides about other spellings of its name.
        return None if self._ignorecase else names

    def add(self, entry: str) -> bool:
        """Append the line that scmrepo would append; return False if scmrepo must do it."""
        line = entry.encode() + b"\n"
        rules = self.rules
        if os.linesep != "\n" or not (self.readable and rules.is_plain and rules.ends_a_line()):
            return False
        if rules.content.startswith(line) or b"\n" + line in rules.content:
            return False
        with open_beneath(self.path, self.root) as safe_path:
            # O_NOFOLLOW: the file was no symlink when it was read, and may have become one.
            fd = os.open(safe_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NOFOLLOW, 0o666)
        try:
            if os.fstat(fd).st_size != len(rules.content):
                return False  # another process has written to it
            write_all(fd, line)
        finally:
            os.close(fd)
        self._changed_names = _union(self._changed_names, rules.append(line))
        return True


class _Rules:
    """The lines of one .gitignore. Lines are only ever appended."""

    def __init__(self, dulwich: Any, path: str, ignorecase: bool) -> None:
        self.content = bytearray()
        self.is_plain = True
        """Whether the content is UTF-8 without carriage returns. scmrepo handles other files."""
        self._dulwich = dulwich
        self._path = path
        self._ignorecase = ignorecase
        # For each name with a line like ``/name``: the number of patterns before the line, and the
        # line.
        self._literals: dict[bytes, tuple[int, bytes]] = {}
        self._filter: Any = dulwich.IgnoreFilter([], ignorecase, path)

    def emptied(self) -> _Rules:
        """Return rules for the same file, without any line."""
        return _Rules(self._dulwich, self._path, self._ignorecase)

    def filter_for(self, name: str) -> Any:
        """Return dulwich's filter without the lines for other names; None if no line is left."""
        literal = self._literals.get(self._key(os.fsencode(name)))
        if literal is None:
            return self._filter if self._patterns else None
        before, line = literal
        reduced = self._dulwich.IgnoreFilter([line], self._ignorecase, self._path)
        reduced._patterns[:0] = self._patterns[:before]
        reduced._patterns += self._patterns[before:]
        return reduced

    def end_with(self, name: str) -> bool:
        """Return whether a line of DVC hides ``name`` and only lines of DVC come after it."""
        literal = self._literals.get(self._key(os.fsencode(name)))
        return literal is not None and literal[0] == len(self._patterns)

    def ends_a_line(self) -> bool:
        return not self.content or self.content.endswith(b"\n")

    def append(self, content: bytes) -> set[str] | None:
        """Append lines, and return the names whose rules changed; None: any name."""
        self.content += content
        self.is_plain = self.is_plain and _is_plain(content)
        names: set[str] | None = set()
        for line in self._dulwich.read_ignore_patterns(io.BytesIO(content)):
            literal = _LITERAL.fullmatch(line)
            if literal is None:
                self._filter.append_pattern(line)
                names = None
                continue
            name = _ESCAPED.sub(rb"\1", literal[1])
            self._literals[self._key(name)] = (len(self._patterns), line)
            if names is not None:
                names.add(os.fsdecode(name))
        return names

    def changed_names(self, before: _Rules) -> set[str] | None:
        """Return the names whose rules differ from those ``before``; None: any name."""
        # If the other lines are unchanged, a line of DVC decides only about its own name.
        if self._patterns != before._patterns:
            return None
        changed = before._literals.items() ^ self._literals.items()
        return {os.fsdecode(name) for name, _ in changed}

    @property
    def _patterns(self) -> list[Any]:
        patterns: list[Any] = self._filter._patterns
        return patterns

    def _key(self, name: bytes) -> bytes:
        return name.lower() if self._ignorecase else name


def _union(one: set[str] | None, other: set[str] | None) -> set[str] | None:
    return None if one is None or other is None else one | other


def _read(path: str) -> bytes | None:
    """Return the content, empty if the file is missing; None if dulwich must judge the file."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return None
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError:
        return None


def _is_plain(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\r" not in content
