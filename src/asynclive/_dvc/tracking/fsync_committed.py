"""durable=True: waits until the workspace changes of a group's commit are on disk.

Each path is synced once a group. Blocks; no DVC.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from ..._artifact.records import TrackedArtifact
from ..._fs.fsync import Sync


def sync_committed(
    sync: Sync, group: Sequence[TrackedArtifact | None]
) -> Iterator[tuple[int, OSError]]:
    """Sync all changes; yield the index and error of each artifact that may not be on disk.

    The last artifact of the group comes first, which is the order to take them back in.

    Args:
        sync: calls fsync.
        group: in the order of the commit; None: this artifact changed nothing.
    """
    outcomes: dict[str, OSError | None] = {}
    for index, tracked in reversed([*enumerate(group)]):
        if tracked is None:
            continue
        directories = _changed_directories(tracked)
        for path in (*map(_gitignore, directories), *sync.with_parents(directories)):
            if path not in outcomes:
                outcomes[path] = _try_sync(sync, path)
            error = outcomes[path]
            if error is not None:
                yield index, error
                break


def _changed_directories(tracked: TrackedArtifact) -> list[str]:
    """Return the directories in which entries were added, removed or exchanged."""
    placement = tracked.staged.placement
    moves = () if placement is None else placement.moves
    changed = {os.path.dirname(move.destination) for move in moves}
    if tracked.dvc_file is not None:
        changed |= {os.path.dirname(tracked.dvc_file), os.path.dirname(tracked.staged.request.path)}
    return sorted(changed)


def _gitignore(directory: str) -> str:
    return os.path.join(directory, ".gitignore")


def _try_sync(sync: Sync, path: str) -> OSError | None:
    """Sync a path; return the error if the disk may not have it."""
    try:
        if os.path.basename(path) == ".gitignore":
            sync.file(path)
        else:
            sync.directory(path)
    except FileNotFoundError:
        pass  # the user has removed it, or it never existed
    except OSError as error:
        return error
    return None
