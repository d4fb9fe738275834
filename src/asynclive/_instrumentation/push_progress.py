"""The progress of one push. Its counters are written in one thread and read in another."""

from __future__ import annotations


class PushCounts:
    """How much of a push is done. Each counter is written by one thread alone."""

    __slots__ = ("bytes_done", "bytes_total", "objects_done", "objects_total", "remote")

    def __init__(self) -> None:
        self.objects_done: int = 0
        """Objects that are in the remote and proven."""
        self.bytes_done: int = 0
        """Their bytes, and those of large objects so far."""
        self.objects_total: int = 0
        self.bytes_total: int = 0
        self.remote: str = ""
        """The name of the remote, once it is known."""

    @property
    def done(self) -> tuple[int, int]:
        """Bytes and objects that are done."""
        return self.bytes_done, self.objects_done

    @property
    def changes_unseen(self) -> bool:
        """Whether the counts may grow: they are written in another thread."""
        return True

    def set_totals(self, remote: str, objects: int, size: int) -> None:
        """Set what the push consists of, before its first object."""
        self.remote, self.objects_total, self.bytes_total = remote, objects, size

    def set_counts(self, objects: int, size: int) -> None:
        self.objects_done, self.bytes_done = objects, size
