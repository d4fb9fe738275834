"""Reads and replaces dvc.yaml while another object of this process writes it too.

Only one of the two accesses the file at a time: each holds a lock for that.

Everything here blocks; call it in a worker thread. While it holds the lock it must not wait for an
event loop: the loop may be blocked by the other writer, which is waiting for the same lock.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from .async_files import AsyncFiles, FileStamp, read_text_blocking
from .entry_lines import Entries


class CoWriter(Protocol):
    """Another writer of dvc.yaml in this process. It writes the entries that it knows of."""

    def lock(self) -> AbstractContextManager[None]:
        """Return the lock on dvc.yaml, to hold while the file is read or replaced. Blocks.

        The co-writer neither reads nor replaces the file in that time.
        """
        ...

    def recording(self, entries: Entries) -> AbstractContextManager[Callable[[], object]]:
        """Return a block that holds the lock, and in which the co-writer knows these entries.

        The block yields a function. Unless that is called, the co-writer forgets the entries when
        the block ends. Blocks.
        """
        ...


class CoWriterTurns:
    """Reads and replaces dvc.yaml under the lock of a co-writer.

    Args:
        co_writer: the other writer.
        files: runs everything in its threads.
    """

    def __init__(self, co_writer: CoWriter, files: AsyncFiles) -> None:
        self._co_writer = co_writer
        self._files = files

    async def read(self, path: str) -> tuple[str, FileStamp] | None:
        """Do the same as ``AsyncFiles.read_text``, under the lock."""
        return await self._files.run(self._read, path)

    def _read(self, path: str) -> tuple[str, FileStamp] | None:
        with self._co_writer.lock():
            return read_text_blocking(path)

    async def replace(
        self,
        entries: Entries,
        replace_with_prepared: Callable[[], bool],
        merge_and_replace: Callable[[], bool],
    ) -> bool:
        """Replace the file, and make the co-writer keep the entries when it writes later.

        Args:
            entries: the entries of the new file.
            replace_with_prepared: puts a prepared file in place; returns whether it still fits.
            merge_and_replace: reads, merges and replaces; returns False if the file changed in
                between.

        Returns:
            Whether the prepared file was used.
        """
        return await self._files.run(
            self._replace, entries, replace_with_prepared, merge_and_replace
        )

    def _replace(
        self,
        entries: Entries,
        replace_with_prepared: Callable[[], bool],
        merge_and_replace: Callable[[], bool],
    ) -> bool:
        with self._co_writer.recording(entries) as keep:
            is_prepared_used = replace_with_prepared()
            if not is_prepared_used:
                # Keep the lock: the co-writer may write faster than a new file can be prepared.
                while not merge_and_replace():
                    pass  # a program that takes no lock wrote dvc.yaml: merge again
            keep()
            return is_prepared_used
