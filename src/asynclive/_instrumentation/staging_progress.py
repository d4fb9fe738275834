"""The bytes and files of one artifact that are staged so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol


class PartlyDone(Protocol):
    """A file in work. Other threads count; reading an int needs no lock."""

    @property
    def done_bytes(self) -> int: ...


@dataclass(eq=False, slots=True)
class StagingProgress:
    """How far one artifact has come. Only on the event loop, but for the files in work."""

    bytes_total: int = 0
    files_total: int = 0
    files_done: int = 0
    size: int = 0
    """Once it is staged: of the tracked files alone, as is their number."""
    nfiles: int = 0
    on_change: Callable[[StagingProgress], None] | None = None
    _bytes_done: int = 0
    _in_work: set[PartlyDone] = field(default_factory=set)
    """Bounded by the bound on large files."""

    @property
    def bytes_done(self) -> int:
        return self._bytes_done + sum(file.done_bytes for file in self._in_work)

    @property
    def moves(self) -> bool:
        """Whether it comes on without being told."""
        return bool(self._in_work)

    def restart(self) -> None:
        """All of it is done again."""
        self.files_done = self._bytes_done = 0

    @contextmanager
    def in_work(self, file: PartlyDone) -> Iterator[None]:
        """Meanwhile it counts as far as it is; afterwards it failed, or is counted next."""
        self._in_work.add(file)
        self._changed()
        try:
            yield
        finally:
            self._in_work.discard(file)

    def count(self, files: int, size: int) -> None:
        """So many files, and their bytes, are done."""
        self.files_done += files
        self._bytes_done += size
        self._changed()

    def reach(self, files: int, size: int) -> None:
        """So many are done, as another process has counted."""
        self.files_done, self._bytes_done = files, size
        self._changed()

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change(self)
