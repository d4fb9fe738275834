"""Which paths Git tracks, at a cost that hardly grows with how many."""

from __future__ import annotations

import os
from typing import Any, Protocol

Stamp = tuple[int, int, int]


class DulwichRepo(Protocol):
    """What is asked of dulwich's ``Repo``."""

    def index_path(self) -> str: ...

    def open_index(self) -> Any: ...


class GitIndex:
    """The index of a Git repository.

    ``Git.is_tracked`` parses it for each question. Here its bytes are searched for the name
    first: what is not among them is not tracked, and an artifact hardly ever is.
    """

    def __init__(self, repo: DulwichRepo, root: str) -> None:
        self._repo = repo
        self._root = root
        self._data = b""
        self._names: frozenset[str] | None = None

    def reload(self) -> None:
        """Look at the index as it is now.

        Raises:
            OSError: it cannot be read.
        """
        try:
            with open(self._repo.index_path(), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            data = b""
        if data != self._data:
            self._data, self._names = data, None

    def tracks(self, path: str) -> bool:
        """Whether Git tracks the absolute ``path``, or anything below it.

        Raises:
            Exception: dulwich's, where it cannot read the index.
        """
        name = os.path.relpath(path, self._root)
        if self._names is None and not self._may_have(os.fsencode(name.replace(os.sep, "/"))):
            return False
        if self._names is None:
            self._names = frozenset(self._read())
        return name in self._names

    def _may_have(self, name: bytes) -> bool:
        """False: it is certainly not tracked."""
        data = self._data
        if data[:4] != b"DIRC" or data[4:8] != b"\0\0\0\2":
            return bool(data)  # in later versions names are not written out, or flagged
        for end in b"\0/":
            at = -1
            while (at := data.find(name + bytes([end]), at + 1)) >= 0:
                # An entry's name comes after its length, in 12 bits, and ends with a zero byte.
                length = int.from_bytes(data[at - 2 : at], "big") & 0xFFF
                if length == min(data.find(b"\0", at) - at, 0xFFF):
                    return True
        return False

    def _read(self) -> set[str]:
        """Every path Git tracks and every directory above one, relative to the root."""
        names: set[str] = set()
        for raw in self._repo.open_index():
            path = os.fsdecode(raw).replace("/", os.sep)
            while path and path not in names:
                names.add(path)
                path = os.path.dirname(path)
        return names
