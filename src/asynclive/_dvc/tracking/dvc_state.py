"""Tells DVC's state what it would have learnt by hashing, so that nothing is read again."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

from ..._artifact.records import StoredFile, TrackedArtifact
from ..._workers.fairness import yield_gil
from ..dvc_errors import plain_text

logger = getLogger(__name__)

# How many files of a directory are seen to at a time, before others get their turn: about half a
# millisecond's worth.
AT_A_TIME = 32

_Row = tuple[str, Any, "dict[str, Any] | None"]
"""A path, its ``HashInfo`` and its stat record; None: as it is."""


class State:
    """What DVC knows by path, inode, size and mtime.

    Args:
        repo: DVC's ``Repo``.
        links: whether files of the workspace are links to what is in the cache.
    """

    def __init__(self, repo: Any, *, links: bool) -> None:
        self._repo = repo
        self._links = links

    def save_files(self, path: str, files: Sequence[StoredFile]) -> None:
        """Tell it of files that will lie in ``path``."""
        with _optional():
            self._save_rows(_file_rows(path, files))

    def save_group(self, group: Sequence[TrackedArtifact]) -> None:
        """Tell it of what a group has committed."""
        with _optional():
            self._save_group(group)

    def _save_rows(self, rows: Iterator[_Row]) -> None:
        state = self._repo.state
        some = list(itertools.islice(rows, AT_A_TIME))
        if not some:
            return
        with state.hashes.transact():  # one for all of them
            while some:
                state.save_many(some, self._repo.fs)
                some = list(itertools.islice(rows, AT_A_TIME))
                if some:
                    yield_gil()

    def _save_group(self, group: Sequence[TrackedArtifact]) -> None:
        from dvc_data.hashfile.utils import to_nanoseconds

        state = self._repo.state
        links: list[tuple[str, str]] = []
        for tracked in group:
            staged, path = tracked.staged, tracked.staged.request.path
            if tracked.md5 is None or staged.tree_md5 is not None:
                continue  # not DVC's, or known to it already
            if staged.isdir:
                links.append((path, mtimes_token(path, staged.files)))
            elif self._links:
                links.append((path, str(to_nanoseconds(staged.files[0].mtime))))
        self._save_rows(self._rows(group))
        if not links:
            return
        # As State.set_link, which takes a transaction of its own for each.
        with state.links.transact():
            for path, mtime in links:
                with contextlib.suppress(FileNotFoundError):  # removed by its owner meanwhile
                    inode = os.lstat(path).st_ino
                    state.links[os.path.relpath(path, state.root_dir)] = (inode, mtime)

    def _rows(self, group: Sequence[TrackedArtifact]) -> Iterator[_Row]:
        """One row a file, made when it is asked for: a large directory has many."""
        from dvc_data.hashfile.hash_info import HashInfo

        for tracked in group:
            staged, path = tracked.staged, tracked.staged.request.path
            if tracked.md5 is None:
                continue
            if not staged.hashes_saved:
                yield from _file_rows(path, staged.files)
            if not staged.isdir:
                # Its object too, which a link may have made executable, so that DVC
                # would no longer take it for protected.
                object_path = self._repo.cache.local.oid_to_path(tracked.md5)
                yield object_path, HashInfo("md5", tracked.md5), None


@contextlib.contextmanager
def _optional() -> Iterator[None]:
    """DVC's state is a cache, on a disk of its own: what it cannot be told, it reads again."""
    try:
        yield
    except Exception as error:
        logger.warning(
            "DVC's state cannot be written to (%s). What was logged is tracked all the same; the "
            "next 'dvc status' reads it once more.",
            plain_text(error),
        )


def _file_rows(path: str, files: Sequence[StoredFile]) -> Iterator[_Row]:
    from dvc_data.hashfile.hash_info import HashInfo

    for file in files:
        info = {"ino": file.inode, "mtime": file.mtime, "size": file.size}
        yield os.sep.join((path, *file.key)), HashInfo("md5", file.md5), info


def mtimes_token(path: str, files: Sequence[StoredFile]) -> str:
    """What tells DVC whether a directory was changed (``_tokenize_mtimes``), some files at a time.

    DVC makes one JSON object of all paths and mtimes, sorted by path.
    """
    digest = hashlib.md5(b"{", usedforsecurity=False)
    mtimes = sorted((os.sep.join((path, *file.key)), file.mtime) for file in files)
    for start in range(0, len(mtimes), AT_A_TIME):
        some = json.dumps(dict(mtimes[start : start + AT_A_TIME]))[1:-1]
        digest.update((", " if start else "").encode() + some.encode())
        yield_gil()
    digest.update(b"}")
    return digest.hexdigest()


class OpenDatabases:
    """DVC's state databases, held open.

    DVC closes them after each command. Whoever is the last to close a database of SQLite's writes
    its log back into it and waits for the disk, which takes longer than a commit.
    """

    def __init__(self) -> None:
        self._connections: list[sqlite3.Connection] = []

    def hold(self, paths: Iterable[str]) -> None:
        """Open the databases that are there; nothing is written, and nothing locked."""
        import sqlite3  # by now DVC has

        for path in paths:
            with contextlib.suppress(sqlite3.Error):  # then it takes longer, that is all
                connection = sqlite3.connect(
                    f"{Path(path).as_uri()}?mode=rw", uri=True, check_same_thread=False
                )
                self._connections.append(connection)
                # SQLite opens the file when it is first asked for something.
                connection.execute("SELECT 1 FROM sqlite_master").fetchall()

    def close(self) -> None:
        while self._connections:
            self._connections.pop().close()
