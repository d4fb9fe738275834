"""Which paths Git tracks, at a cost that hardly grows with their number."""

from __future__ import annotations

import os
from typing import Any, Protocol

Stamp = tuple[int, int, int]


class DulwichRepo(Protocol):
    """The methods of dulwich's ``Repo`` that are used here."""

    def index_path(self) -> str: ...

    def open_index(self) -> Any: ...


class GitIndex:
    """The index of a Git repository.

    ``Git.is_tracked`` parses the index file for each question. This class searches the bytes of the
    file for the name first. A name that is not found is not tracked, and Git hardly ever tracks an
    artifact.
    """

    def __init__(self, repo: DulwichRepo, root: str) -> None:
        self._repo = repo
        self._root = root
        self._data = b""
        self._names: frozenset[str] | None = None

    def reload(self) -> None:
        """Read the index file again, and parse it later if it changed.

        Raises:
            OSError: the file cannot be read.
        """
        try:
            with open(self._repo.index_path(), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            data = b""
        if data != self._data:
            self._data, self._names = data, None

    def tracks(self, path: str) -> bool:
        """Return whether Git tracks the absolute ``path``, or a path below it.

        Raises:
            Exception: dulwich cannot read the index.
        """
        name = os.path.relpath(path, self._root)
        if self._names is None and not self._may_track(os.fsencode(name.replace(os.sep, "/"))):
            return False
        if self._names is None:
            self._names = frozenset(self._read())
        return name in self._names

    def _may_track(self, name: bytes) -> bool:
        """Return False if Git certainly does not track the name."""
        data = self._data
        if data[:4] != b"DIRC" or data[4:8] != b"\0\0\0\2":
            return bool(data)  # versions from 3 on abbreviate names, or add flags before them
        for end in b"\0/":
            start = -1
            while (start := data.find(name + bytes([end]), start + 1)) >= 0:
                # In an entry, 12 bits of length come before the name, and a zero byte ends it.
                length = int.from_bytes(data[start - 2 : start], "big") & 0xFFF
                if length == min(data.find(b"\0", start) - start, 0xFFF):
                    return True
        return False

    def _read(self) -> set[str]:
        """Return the paths that Git tracks and their directories, relative to the root."""
        names: set[str] = set()
        for raw in self._repo.open_index():
            path = os.fsdecode(raw).replace("/", os.sep)
            while path and path not in names:
                names.add(path)
                path = os.path.dirname(path)
        return names
