"""Reads and writes one dvc.yaml: merges entries into a temp file, then replaces the file."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from .._errors import DvcYamlError
from .._fs.paths import is_inside
from .async_files import AsyncFiles, FileStamp, read_text_blocking
from .co_writer import CoWriter, CoWriterTurns
from .dvcyaml_errors import translate_dvcyaml_errors
from .entry_lines import Entries
from .merge_entries import Merger


@dataclass(frozen=True, slots=True)
class Update:
    """A new dvc.yaml, complete in a temp file, that has not replaced the old one yet."""

    target: str
    """The file to replace: dvc.yaml, or the target of the symlink at its path."""
    text: str
    """The text of the new file."""
    base_stamp: FileStamp | None
    """The stamp of the file that was merged into; None if there was none."""
    entries: Entries
    mode: int
    made_dirs: tuple[str, ...]
    """The directories that were made for the file, outermost first."""
    temp: str | None = None
    """The path of the temp file; None if there is nothing to change."""
    temp_stamp: FileStamp | None = None
    """The stamp of the temp file; None if a later file might have the same one."""


@dataclass(frozen=True, slots=True)
class _Merged:
    base_stamp: FileStamp | None
    text: str
    data: bytes | None
    """The bytes to write; None if there is nothing to change."""
    made_dirs: tuple[str, ...] = ()


class DvcYaml:
    """Reads and replaces one dvc.yaml, in two steps: ``prepare``, then ``replace`` or ``discard``.

    The caller must hold an async lock and DVC's repository lock. Users edit dvc.yaml without
    either lock. If the file changed on disk between the two steps, the entries are merged again.

    Call the methods in a task of this library, never in the caller's task, for the reason given in
    :class:`~asynclive._dvcyaml.async_files.AsyncFiles`.

    Args:
        path: the dvc.yaml, absolute.
        files: runs all file operations, and the merge, in its threads.
        temp_for: returns the path of a temp file that can be renamed to a path. Blocks.
        root: the directory that a symlink must not lead out of; None: it may.
        co_writer: another writer of the file in this process; None: there is none.
    """

    def __init__(
        self,
        path: str,
        files: AsyncFiles,
        temp_for: Callable[[str], str],
        root: str | None = None,
        co_writer: CoWriter | None = None,
    ) -> None:
        self.path = path
        self._root = root
        self._files = files
        self._co_writer_turns = None if co_writer is None else CoWriterTurns(co_writer, files)
        self._temp_for = temp_for
        self._merger = Merger()
        # The stamp and text that we wrote last. A file with this stamp need not be read.
        self._last_written: tuple[FileStamp, str] | None = None

    def entry_path(self, path: str) -> str:
        """Return ``path`` for an entry: with slashes, relative to the directory of dvc.yaml.

        Symlinks are not resolved, as in ``dvclive.utils.rel_path``.
        """
        directory = os.path.dirname(os.path.abspath(self.path))
        return Path(os.path.relpath(os.path.abspath(path), directory)).as_posix()

    async def prepare(self, entries: Entries, mode: int) -> Update:
        """Write the merged text to a temp file. dvc.yaml is unchanged.

        Args:
            entries: the values of each entry, by its name.
            mode: permission bits for a dvc.yaml that does not exist yet.

        Raises:
            DvcYamlError: dvc.yaml cannot be read, merged or written. No temp file is left.

        Cancellation: no temp file is left.
        """
        with translate_dvcyaml_errors(self.path):
            target, merged = await self._files.run(self._merge_without_reading, entries)
            if merged is None:
                if self._co_writer_turns is not None:
                    read = await self._co_writer_turns.read(target)
                else:
                    read = await self._files.read_text(target)
                text, stamp = read or (None, None)
                merged = await self._files.run(self._merge, target, text, stamp, entries)
            update = Update(
                target, merged.text, merged.base_stamp, dict(entries), mode, merged.made_dirs
            )
            if merged.data is None:
                return update
            is_written = False
            try:
                temp = await self._files.run(self._temp_for, target)
                update = dataclasses.replace(update, temp=temp)
                temp_stamp = await self._files.write(
                    temp, merged.data, mode if merged.base_stamp is None else merged.base_stamp.mode
                )
                is_written = True
            finally:
                if not is_written:
                    await self.discard(update)
            return dataclasses.replace(update, temp_stamp=temp_stamp)

    def _merge_without_reading(self, entries: Entries) -> tuple[str, _Merged | None]:
        """Return the file to replace, and the merged text; None if the file must be read first.

        Blocks.
        """
        target = os.path.realpath(self.path)
        if self._root is not None and self._leads_outside(target, self._root):
            raise DvcYamlError(
                self.path,
                f"is a symlink that leads out of '{self._root}', to '{target}'. AsyncLive does not "
                "write there. Replace the symlink by a file.",
            )
        stamp = FileStamp.of_path(target)
        if stamp is None:
            return target, self._merge(target, None, None, entries)
        if self._last_written is not None and self._last_written[0] == stamp:
            return target, self._merge(target, self._last_written[1], stamp, entries)
        return target, None

    def _merge(
        self, target: str, text: str | None, stamp: FileStamp | None, entries: Entries
    ) -> _Merged:
        # Runs in a thread: merging hundreds of entries, or the first parse of thousands, would
        # block the event loop.
        merged = self._merger.merge(text, entries)
        if merged == text:
            return _Merged(stamp, merged, None)
        return _Merged(stamp, merged, merged.encode(), _make_dirs(os.path.dirname(target)))

    def _leads_outside(self, target: str, root: str) -> bool:
        """Return whether a symlink leads out of ``root``.

        A path that the user gave outside ``root`` is intended, and its symlinks are followed.
        """
        directory, real_directory = os.path.dirname(self.path), os.path.dirname(target)
        return is_inside(directory, root) and not is_inside(real_directory, os.path.realpath(root))

    async def replace(self, update: Update, names: Collection[str]) -> None:
        """Replace dvc.yaml atomically. Of the entries in the update, write only those in ``names``.

        The update cannot be used again, whether this returns or raises.

        Raises:
            DvcYamlError: dvc.yaml cannot be read, merged or replaced. The file is unchanged,
                unless the message says that it is written but may not be on the disk.

        Cancellation: dvc.yaml is unchanged, or has all of these entries. No temp file is left.
        """
        entries = {name: update.entries[name] for name in update.entries if name in names}
        if not entries:
            await self.discard(update)
        elif self._co_writer_turns is None:
            await self._replace_alone(update, entries)
        else:
            await self._replace_in_turn(self._co_writer_turns, update, entries)

    async def _replace_alone(self, update: Update, entries: Entries) -> None:
        is_used = False
        try:
            while True:
                with translate_dvcyaml_errors(self.path):
                    if entries.keys() == update.entries.keys() and await self._files.replace(
                        update.temp, update.target, update.base_stamp
                    ):
                        is_used = True
                        self._remember_written(update.temp, update.temp_stamp, update.text)
                        return
                # dvc.yaml changed on disk, or some entries are dropped: merge again.
                fresh = await self.prepare(entries, update.mode)
                # The fresh temp file is in directories that were made for the stale update.
                # Discarding the stale update must not remove them.
                stale, made_dirs = update, update.made_dirs + fresh.made_dirs
                update = dataclasses.replace(fresh, made_dirs=made_dirs)
                await self.discard(dataclasses.replace(stale, made_dirs=()))
        finally:
            if not is_used:
                await self.discard(update)

    async def _replace_in_turn(
        self, turns: CoWriterTurns, update: Update, entries: Entries
    ) -> None:
        is_used = False
        try:
            with translate_dvcyaml_errors(self.path):
                is_used = await turns.replace(
                    entries,
                    partial(self._replace_with_prepared, update, entries),
                    partial(self._merge_and_replace, entries, update.mode),
                )
        finally:
            if not is_used:
                await self.discard(update)

    def _replace_with_prepared(self, update: Update, entries: Entries) -> bool:
        """Replace dvc.yaml by the update; return False if that does not fit any more. Blocks."""
        if entries.keys() != update.entries.keys():
            return False
        if not self._files.replace_blocking(update.temp, update.target, update.base_stamp):
            return False
        self._remember_written(update.temp, update.temp_stamp, update.text)
        return True

    def _merge_and_replace(self, entries: Entries, mode: int) -> bool:
        """Read, merge and replace; return False if dvc.yaml changed in between. Blocks."""
        target, merged = self._merge_without_reading(entries)
        if merged is None:
            text, stamp = read_text_blocking(target) or (None, None)
            merged = self._merge(target, text, stamp, entries)
        temp = temp_stamp = None
        with contextlib.ExitStack() as undo:
            undo.callback(_remove_dirs, merged.made_dirs)
            if merged.data is not None:
                temp = self._temp_for(target)
                mode = mode if merged.base_stamp is None else merged.base_stamp.mode
                temp_stamp = self._files.write_blocking(temp, merged.data, mode)
                undo.callback(os.remove, temp)
            if not self._files.replace_blocking(temp, target, merged.base_stamp):
                return False
            undo.pop_all()
        self._remember_written(temp, temp_stamp, merged.text)
        return True

    def _remember_written(self, temp: str | None, stamp: FileStamp | None, text: str) -> None:
        if temp is not None:
            self._last_written = stamp and (stamp, text)

    async def discard(self, update: Update) -> None:
        """Remove the temp file and directories of ``prepare``. Missing ones are no error.

        Cancellation: finishes before it is cancelled.
        """
        with anyio.CancelScope(shield=True):
            try:
                if update.temp is not None:
                    await self._files.remove(update.temp)
            except OSError:
                pass  # called because of another error, which is the one to report
            await self._files.run(_remove_dirs, update.made_dirs)


def _make_dirs(directory: str) -> tuple[str, ...]:
    """Make a directory and its parents; return the ones that were missing, outermost first."""
    missing = []
    while directory and not os.path.lexists(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    made: list[str] = []
    try:
        for path in reversed(missing):
            os.mkdir(path)
            made.append(path)
    except BaseException:
        _remove_dirs(tuple(made))
        raise
    return tuple(made)


def _remove_dirs(made: tuple[str, ...]) -> None:
    for path in reversed(made):
        try:
            os.rmdir(path)
        except OSError:
            return  # not empty: another program uses it
