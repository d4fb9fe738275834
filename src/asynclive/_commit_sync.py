"""Brings onto the disk what a group's commit changed in the workspace, each path once a group.

Only where that is wanted. Blocking and without DVC.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ._artifact import TrackedArtifact
from ._durable import Sync
from ._store import create, remove_file, set_mode, write_all


def sync_committed(
    sync: Sync, group: Sequence[TrackedArtifact | None]
) -> Iterator[tuple[int, OSError]]:
    """Wait for the disk; which of the group may not be on it, the last one first.

    Args:
        sync: what waits.
        group: in the order of the commit; None: nothing of it was changed.
    """
    outcomes: dict[str, OSError | None] = {}
    for index, tracked in reversed([*enumerate(group)]):
        if tracked is None:
            continue
        directories = _changed_directories(tracked)
        for path in (*map(_gitignore, directories), *sync.with_above(directories)):
            if path not in outcomes:
                outcomes[path] = _error_of(sync, path)
            error = outcomes[path]
            if error is not None:
                yield index, error
                break


@dataclass(frozen=True, slots=True)
class Before:
    """A small file as it was before it was replaced."""

    path: str
    data: bytes | None
    """None: it was not there."""
    mode: int

    @classmethod
    def of(cls, path: str) -> Before:
        try:
            with open(path, "rb") as file:
                return cls(path, file.read(), os.fstat(file.fileno()).st_mode & 0o777)
        except FileNotFoundError:
            return cls(path, None, 0)

    def put_back(self, temp: str) -> None:
        """Leave it as it was, by way of a new file ``temp``."""
        if self.data is None:
            remove_file(self.path)
            return
        fd = create(temp)
        try:
            write_all(fd, self.data)
            set_mode(fd, temp, self.mode)
        finally:
            os.close(fd)
        os.replace(temp, self.path)


def _changed_directories(tracked: TrackedArtifact) -> list[str]:
    """Where names came, went or were exchanged."""
    placement = tracked.staged.placement
    moves = () if placement is None else placement.moves
    changed = {os.path.dirname(move.destination) for move in moves}
    if tracked.dvc_file is not None:
        changed |= {os.path.dirname(tracked.dvc_file), os.path.dirname(tracked.staged.request.path)}
    return sorted(changed)


def _gitignore(directory: str) -> str:
    return os.path.join(directory, ".gitignore")


def _error_of(sync: Sync, path: str) -> OSError | None:
    try:
        if os.path.basename(path) == ".gitignore":
            sync.file(path)
        else:
            sync.directory(path)
    except FileNotFoundError:
        pass  # removed by its owner meanwhile, or never there
    except OSError as error:
        return error
    return None
