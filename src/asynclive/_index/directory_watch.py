"""Watches directories for changes: the protocol, and an implementation that calls stat.

``inotify`` has an implementation that costs nothing if nothing changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .._fs.change_detection import Stamp, is_racy, mark_racy, stamp_of
from .directory_listing import list_directory


class UnwatchableError(Exception):
    """This watch cannot report changes here, or not any more. Use another one."""


class Change(NamedTuple):
    """A name in a watched directory that was added, removed, replaced or written to."""

    directory: str
    name: str
    is_dir: bool
    is_write: bool
    """The file itself was written to. Its stamp may be unchanged."""


class Watch(Protocol):
    """Reports the changes in directories that were added to it.

    Not thread-safe: one thread at a time may call the methods.
    """

    def add(self, directory: str) -> None:
        """Report changes in ``directory`` that happen after this call.

        Raises:
            OSError: ``directory`` is not a directory, or cannot be read.
            UnwatchableError: changes in it cannot be reported.
        """
        ...

    def remove(self, directory: str) -> None:
        """Stop reporting changes in ``directory``. It need not be watched."""
        ...

    def changes(self) -> Iterable[Change] | None:
        """Return the changes since the last call, in order, each once.

        Returns:
            The changes; None if anything may have changed.

        Raises:
            UnwatchableError: the changes cannot be found out.
        """
        ...

    def clear(self) -> None:
        """Stop reporting changes in all directories, and forget changes not reported yet.

        Raises:
            UnwatchableError: no directory can be watched any more.
        """
        ...

    def close(self) -> None:
        """Release the resources of the system. After that, only ``close`` may be called."""
        ...


@dataclass(slots=True)
class _Snapshot:
    """A directory at one moment: its stamp, and the names in it that DVC reads."""

    stamp: Stamp | None
    dirs: set[str]
    files: dict[str, Stamp | None]


class StatWatch:
    """Finds changes by stat of each directory, and of each file in it that DVC reads.

    A file that changed within the last tick of the clock is reported again by the next call.
    """

    def __init__(self, is_dvc_file: Callable[[str], bool]) -> None:
        self._is_dvc_file = is_dvc_file
        self._snapshots: dict[str, _Snapshot] = {}

    def add(self, directory: str) -> None:
        self._snapshots[directory] = self._take_snapshot(directory)

    def remove(self, directory: str) -> None:
        self._snapshots.pop(directory, None)

    def changes(self) -> Iterable[Change] | None:
        return [
            change for directory in list(self._snapshots) for change in self._changes_in(directory)
        ]

    def clear(self) -> None:
        self._snapshots.clear()

    def close(self) -> None:
        self._snapshots.clear()

    def _take_snapshot(self, directory: str) -> _Snapshot:
        stamp = mark_racy(stamp_of(directory))
        listing = list_directory(directory, self._is_dvc_file)
        files = [*listing.dvc_files, *listing.rule_files]
        return _Snapshot(
            stamp, set(listing.dirs), {name: _stamp_in(directory, name) for name in files}
        )

    def _changes_in(self, directory: str) -> Iterator[Change]:
        before = self._snapshots[directory]
        if stamp_of(directory) == before.stamp:
            for name, stamp in before.files.items():
                if (new_stamp := stamp_of(f"{directory}{os.sep}{name}")) != stamp:
                    before.files[name] = mark_racy(new_stamp)
                    yield Change(directory, name, False, False)
            return
        try:
            after = self._snapshots[directory] = self._take_snapshot(directory)
        except OSError:  # the directory is gone: its parent reports that
            return
        for name in after.dirs ^ before.dirs:
            yield Change(directory, name, True, False)
        for name in after.files.keys() | before.files.keys():
            stamp = after.files.get(name)
            if stamp is None or is_racy(stamp) or stamp != before.files.get(name):
                yield Change(directory, name, False, False)


def _stamp_in(directory: str, name: str) -> Stamp | None:
    return mark_racy(stamp_of(f"{directory}{os.sep}{name}"))
