"""Counts the bytes and files of one artifact that are staged so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol


class PartlyDone(Protocol):
    """A file in work. Another thread updates the count; reading an int needs no lock."""

    @property
    def done_bytes(self) -> int: ...


@dataclass(eq=False, slots=True)
class StagingProgress:
    """The staging progress of one artifact.

    Used on the event loop only, except that worker threads update the files in work.
    """

    bytes_total: int = 0
    files_total: int = 0
    files_done: int = 0
    size: int = 0
    """Bytes of the tracked files, known when the artifact is staged."""
    nfiles: int = 0
    """Number of the tracked files, known when the artifact is staged."""
    on_change: Callable[[StagingProgress], None] | None = None
    _bytes_done: int = 0
    _in_work: set[PartlyDone] = field(default_factory=set)
    """At most as many as large files may be in work at once."""

    @property
    def bytes_done(self) -> int:
        """Bytes that are staged, with those of the files in work."""
        return self._bytes_done + sum(file.done_bytes for file in self._in_work)

    @property
    def done(self) -> tuple[int, int]:
        """Bytes and files that are done."""
        return self.bytes_done, self.files_done

    @property
    def changes_unseen(self) -> bool:
        """Whether ``bytes_done`` may grow without a call of ``on_change``."""
        return bool(self._in_work)

    def set_totals(self, size: int, files: int) -> None:
        """Set the bytes and the number of files that will be staged."""
        self.bytes_total, self.files_total = size, files

    def set_staged(self, size: int, files: int) -> None:
        """Set the bytes and the number of the tracked files."""
        self.size, self.nfiles = size, files

    def restart(self) -> None:
        """Set the counts to zero, because the artifact is staged again."""
        self.files_done = self._bytes_done = 0

    @contextmanager
    def in_work(self, file: PartlyDone) -> Iterator[None]:
        """Include the bytes done of ``file`` within the block.

        After the block, the file has failed, or the caller counts it by ``count``.
        """
        self._in_work.add(file)
        self._changed()
        try:
            yield
        finally:
            self._in_work.discard(file)

    def count(self, files: int, size: int) -> None:
        """Add files and their bytes to the counts."""
        self.files_done += files
        self._bytes_done += size
        self._changed()

    def set_counts(self, files: int, size: int) -> None:
        """Set the counts to those of the worker process."""
        self.files_done, self._bytes_done = files, size
        self._changed()

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change(self)
