"""The async reader and writer of one dvc.yaml: merge beside it, then replace it."""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from ._document import DocumentError
from ._errors import DvcYamlError
from ._files import AsyncFiles, FileStamp
from ._merge import Merger
from ._style import Entries


@dataclass(frozen=True, slots=True)
class Update:
    """A change of dvc.yaml that is complete beside it and waits to take its place."""

    target: str
    """The file itself: dvc.yaml, or what it is a symlink to."""
    temp: str | None
    """The new file; None when there is nothing to change."""
    stamp: FileStamp | None
    """Of the text that was merged into; None if there was none."""
    entries: dict[str, Mapping[str, Any]]
    mode: int
    made: tuple[str, ...]
    """The directories that had to be made for it, outermost first."""


class DvcYaml:
    """Reads and replaces one dvc.yaml, in two steps: ``prepare``, then ``replace`` or ``discard``.

    It does no locking: the caller holds an async lock, and DVC's repository lock. Users edit
    dvc.yaml without either, so a change on disk between the steps is merged into.

    To be used in a task of ours, as :class:`~asynclive._files.AsyncFiles`.

    Args:
        path: the dvc.yaml, absolute.
        files: runs all file operations, and the merge, in its threads.
    """

    def __init__(self, path: str, files: AsyncFiles) -> None:
        self.path = path
        self._files = files
        self._merger = Merger()

    def entry_path(self, path: str) -> str:
        """Return ``path`` as an entry has it: POSIX, relative to the directory of dvc.yaml.

        Symlinks are not resolved, as in ``dvclive.utils.rel_path``.
        """
        directory = os.path.dirname(os.path.abspath(self.path))
        return Path(os.path.relpath(os.path.abspath(path), directory)).as_posix()

    async def prepare(self, entries: Entries, mode: int) -> Update:
        """Write the merged file beside dvc.yaml, which stays as it is.

        Args:
            entries: name to values.
            mode: permission bits for a dvc.yaml that does not exist yet.

        Raises:
            DvcYamlError: dvc.yaml cannot be read, merged or written; nothing is left of it.

        Cancellation: nothing is left of it.
        """
        with self._explained():
            target: str = await self._files.run(os.path.realpath, self.path)
            text, stamp = await self._files.read_text(target) or (None, None)
            # In a thread: thousands of entries take seconds.
            merged = await self._files.run(self._merger.merge, text, entries)
            update = Update(target, None, stamp, dict(entries), mode, made=())
            if merged == text:
                return update
            directory, name = os.path.split(target)
            update = dataclasses.replace(
                update,
                temp=os.path.join(directory, f".{name}.{secrets.token_hex(8)}.tmp"),
                made=await self._files.run(_make_dirs, directory),
            )
            written = False
            try:
                assert update.temp is not None
                await self._files.write_text(
                    update.temp, merged, mode if stamp is None else stamp.mode
                )
                written = True
            finally:
                if not written:
                    await self.discard(update)
            return update

    async def replace(self, update: Update, names: Collection[str]) -> None:
        """Put the entries with these names in place, atomically; the others are dropped.

        The update is used up, whether this returns or raises.

        Raises:
            DvcYamlError: dvc.yaml cannot be read, merged or replaced; it is as it was.

        Cancellation: dvc.yaml is as it was, or has all of these entries. No temp file is left.
        """
        entries = {name: update.entries[name] for name in update.entries if name in names}
        done = False
        try:
            while entries:
                with self._explained():
                    # Between this look and os.replace, another's write would be lost. No file
                    # system offers better; DVC's own commands are kept out by its lock.
                    stamp = await self._files.stat_stamp(update.target)
                    if stamp == update.stamp and entries.keys() == update.entries.keys():
                        if update.temp is not None:
                            await self._files.replace(update.temp, update.target)
                        done = True
                        return
                fresh = await self.prepare(entries, update.mode)
                stale, made = update, update.made + fresh.made
                update = dataclasses.replace(fresh, made=made)
                await self.discard(dataclasses.replace(stale, made=()))
        finally:
            if not done:
                await self.discard(update)

    async def discard(self, update: Update) -> None:
        """Remove what ``prepare`` left on disk; what is gone already will do.

        Cancellation: finishes first.
        """
        with anyio.CancelScope(shield=True):
            try:
                if update.temp is not None:
                    await self._files.remove(update.temp)
            except OSError:
                pass  # on the way out of a failure, which is the one to report
            await self._files.run(_remove_dirs, update.made)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise as DvcYamlError, saying what to do, what keeps us from the file."""
        fail = partial(DvcYamlError, self.path)
        try:
            yield
        except DocumentError as error:
            raise fail(f"{error} Repair the file, then log again.") from error
        except UnicodeDecodeError as error:
            raise fail(
                f"is not UTF-8 (at byte {error.start}). Save it as UTF-8, then log again."
            ) from error
        except IsADirectoryError as error:
            raise fail(
                "is a directory. Move it away, or pass another dvcyaml= ('sub/dvc.yaml')."
            ) from error
        except PermissionError as error:
            raise fail(
                f"cannot be read and replaced: {error.strerror}. The file must be readable, and "
                "its directory writable. Change their permissions, then log again."
            ) from error
        except OSError as error:
            raise fail(
                f"cannot be read and replaced: {error.strerror or error}. It is as it was; log "
                "again once the cause is gone."
            ) from error


def _make_dirs(directory: str) -> tuple[str, ...]:
    """Make a directory and its parents; return those that were missing, outermost first."""
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
            return  # somebody uses it by now
