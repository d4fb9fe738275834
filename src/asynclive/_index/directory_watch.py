"""What changed in which directory since last asked: the question, and the answer by looking.

``_inotify`` has the answer that costs nothing where nothing changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .._fs.change_detection import Stamp, is_racy, stamp_of, unless_racy
from .directory_listing import list_directory


class UnwatchableError(Exception):
    """Changes are not reported here, or not any more."""


class Change(NamedTuple):
    """Something happened to a name in a watched directory."""

    directory: str
    name: str
    is_dir: bool
    is_write: bool
    """It was written into where it stands, rather than put there."""


class Watch(Protocol):
    """Directories whose changes are reported."""

    def add(self, directory: str) -> None:
        """Report what changes in ``directory`` from now on.

        Raises:
            OSError: it is not a directory that can be read.
            UnwatchableError: its changes cannot be reported.
        """
        ...

    def remove(self, directory: str) -> None:
        """Report nothing more of ``directory``, where it is watched."""
        ...

    def changes(self) -> Iterable[Change] | None:
        """What changed since last asked, in order, each once; None: anything may have changed.

        Raises:
            UnwatchableError: nobody knows.
        """
        ...

    def clear(self) -> None:
        """Report nothing more of any directory added so far.

        Raises:
            UnwatchableError: nothing can be watched any more.
        """
        ...

    def close(self) -> None:
        """Give back what the system lent for it. It is of no use any more."""
        ...


@dataclass(slots=True)
class _Snapshot:
    stamp: Stamp | None
    dirs: set[str]
    files: dict[str, Stamp | None]


class StatWatch:
    """Looks at the stamp of each directory added and of each file of interest in it."""

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
        stamp = unless_racy(stamp_of(directory))
        listing = list_directory(directory, self._is_dvc_file)
        files = [*listing.dvc_files, *listing.rule_files]
        return _Snapshot(
            stamp, set(listing.dirs), {name: _stamp_in(directory, name) for name in files}
        )

    def _changes_in(self, directory: str) -> Iterator[Change]:
        before = self._snapshots[directory]
        if stamp_of(directory) == before.stamp:
            for name, stamp in before.files.items():
                if (now := stamp_of(f"{directory}{os.sep}{name}")) != stamp:
                    before.files[name] = unless_racy(now)
                    yield Change(directory, name, False, False)
            return
        try:
            after = self._snapshots[directory] = self._take_snapshot(directory)
        except OSError:  # the directory that held it says so
            return
        for name in after.dirs ^ before.dirs:
            yield Change(directory, name, True, False)
        for name in after.files.keys() | before.files.keys():
            stamp = after.files.get(name)
            if stamp is None or is_racy(stamp) or stamp != before.files.get(name):
                yield Change(directory, name, False, False)


def _stamp_in(directory: str, name: str) -> Stamp | None:
    return unless_racy(stamp_of(f"{directory}{os.sep}{name}"))
