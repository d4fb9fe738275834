"""Reads and replaces dvc.yaml beside somebody who writes into the file itself, in turns.

Blocks, in a thread of ours. In a turn it waits for no event loop, which who waits for his may
hold up.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from .async_files import AsyncFiles, FileStamp, read_text_blocking
from .entry_lines import Entries


class CoWriter(Protocol):
    """Somebody else in this process who writes dvc.yaml, in his own way, from what he knows."""

    def lock(self) -> AbstractContextManager[None]:
        """Held while dvc.yaml is looked at or replaced: he does neither meanwhile. Blocks."""
        ...

    def recording(self, entries: Entries) -> AbstractContextManager[Callable[[], object]]:
        """Entered: a turn, in which he knows these entries too.

        He forgets them at its end, unless what is returned was called. Blocks.
        """
        ...


class CoWriterTurns:
    """What is done to dvc.yaml while he does nothing to it.

    Args:
        co_writer: who else writes it.
        files: runs it, in its threads.
    """

    def __init__(self, co_writer: CoWriter, files: AsyncFiles) -> None:
        self._co_writer = co_writer
        self._files = files

    async def read(self, path: str) -> tuple[str, FileStamp] | None:
        """As ``AsyncFiles.read_text``."""
        return await self._files.run(self._read, path)

    def _read(self, path: str) -> tuple[str, FileStamp] | None:
        with self._co_writer.lock():
            return read_text_blocking(path)

    async def replace(
        self, entries: Entries, first: Callable[[], bool], again: Callable[[], bool]
    ) -> bool:
        """Replace the file, so that all he writes from now on has the entries.

        Args:
            first: replaces it by what was made beforehand; whether that could be.
            again: reads, merges and replaces it; whether nobody came between.

        Returns:
            Whether it was done by ``first``.
        """
        return await self._files.run(self._replace, entries, first, again)

    def _replace(
        self, entries: Entries, first: Callable[[], bool], again: Callable[[], bool]
    ) -> bool:
        with self._co_writer.recording(entries) as keep:
            at_once = first()
            if not at_once:
                # In this same turn, for he may write faster than it takes us to prepare.
                while not again():
                    pass  # who waits for no turn has written it
            keep()
            return at_once
