"""Writes hashes into DVC's state database, so that DVC does not read the files again."""

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

# Files to process before other threads may take the GIL: about 0.5 ms of work.
FILES_PER_YIELD = 32

_Row = tuple[str, Any, "dict[str, Any] | None"]
"""A path, its ``HashInfo`` and its stat record; None: DVC calls stat itself."""


class State:
    """DVC's state: a hash for each path, valid as long as inode, size and mtime are the same.

    Args:
        repo: DVC's ``Repo``.
        links: whether files of the workspace are links to objects in the cache.
    """

    def __init__(self, repo: Any, *, links: bool) -> None:
        self._repo = repo
        self._links = links

    def save_files(self, path: str, files: Sequence[StoredFile]) -> None:
        """Save the hashes of files that will lie in ``path``. A failure is only logged."""
        with _log_errors():
            self._save_rows(_file_rows(path, files))

    def save_group(self, group: Sequence[TrackedArtifact]) -> None:
        """Save the hashes and links of a committed group. A failure is only logged."""
        with _log_errors():
            self._save_group(group)

    def _save_rows(self, rows: Iterator[_Row]) -> None:
        state = self._repo.state
        batch = list(itertools.islice(rows, FILES_PER_YIELD))
        if not batch:
            return
        with state.hashes.transact():  # one transaction for all rows
            while batch:
                state.save_many(batch, self._repo.fs)
                batch = list(itertools.islice(rows, FILES_PER_YIELD))
                if batch:
                    yield_gil()

    def _save_group(self, group: Sequence[TrackedArtifact]) -> None:
        from dvc_data.hashfile.utils import to_nanoseconds

        state = self._repo.state
        links: list[tuple[str, str]] = []
        for tracked in group:
            staged, path = tracked.staged, tracked.staged.request.path
            if tracked.md5 is None or staged.tree_md5 is not None:
                continue  # not tracked by DVC, or in its state already
            if staged.isdir:
                links.append((path, mtimes_token(path, staged.files)))
            elif self._links:
                links.append((path, str(to_nanoseconds(staged.files[0].mtime))))
        self._save_rows(self._rows(group))
        if not links:
            return
        # As State.set_link does, but in one transaction instead of one for each path.
        with state.links.transact():
            for path, mtime in links:
                with contextlib.suppress(FileNotFoundError):  # the user has removed it
                    inode = os.lstat(path).st_ino
                    state.links[os.path.relpath(path, state.root_dir)] = (inode, mtime)

    def _rows(self, group: Sequence[TrackedArtifact]) -> Iterator[_Row]:
        """Yield one row for each file. They are not kept: a large directory has many."""
        from dvc_data.hashfile.hash_info import HashInfo

        for tracked in group:
            staged, path = tracked.staged, tracked.staged.request.path
            if tracked.md5 is None:
                continue
            if not staged.hashes_saved:
                yield from _file_rows(path, staged.files)
            if not staged.isdir:
                # The row of its object too. If the mode of a link made the object executable, DVC
                # no longer trusts the object as write-protected, and would hash it.
                md5 = staged.files[0].md5  # tracked.md5 may be one of DVC 2
                object_path = self._repo.cache.local.oid_to_path(md5)
                yield object_path, HashInfo("md5", md5), None


@contextlib.contextmanager
def _log_errors() -> Iterator[None]:
    """Log an error as a warning: DVC's state is only a cache. DVC hashes a file without a row."""
    try:
        yield
    except Exception as error:
        logger.warning(
            "DVC's state cannot be written to (%s). The logged artifacts are tracked anyway; the "
            "next 'dvc status' reads them once more.",
            plain_text(error),
        )


def _file_rows(path: str, files: Sequence[StoredFile]) -> Iterator[_Row]:
    from dvc_data.hashfile.hash_info import HashInfo

    for file in files:
        info = {"ino": file.inode, "mtime": file.mtime, "size": file.size}
        yield os.sep.join((path, *file.key)), HashInfo("md5", file.md5), info


def mtimes_token(path: str, files: Sequence[StoredFile]) -> str:
    """Return the token by which DVC tells whether a directory changed (``_tokenize_mtimes``).

    The token is the MD5 of one JSON object of all paths and mtimes, sorted by path. Here it is
    computed in batches, between which other threads run.
    """
    digest = hashlib.md5(b"{", usedforsecurity=False)
    mtimes = sorted((os.sep.join((path, *file.key)), file.mtime) for file in files)
    for start in range(0, len(mtimes), FILES_PER_YIELD):
        batch = json.dumps(dict(mtimes[start : start + FILES_PER_YIELD]))[1:-1]
        digest.update((", " if start else "").encode() + batch.encode())
        yield_gil()
    digest.update(b"}")
    return digest.hexdigest()


class OpenDatabases:
    """Keeps DVC's state databases open during a session.

    DVC closes its connections after each command. When the last connection to a SQLite database is
    closed, SQLite writes the log back into the database and waits for the disk. That takes longer
    than a commit.
    """

    def __init__(self) -> None:
        self._connections: list[sqlite3.Connection] = []

    def open(self, paths: Iterable[str]) -> None:
        """Open the databases that exist. Writes nothing, and locks nothing."""
        for path in paths:
            with contextlib.suppress(sqlite3.Error):  # without the connection, commits are slower
                connection = sqlite3.connect(
                    f"{Path(path).as_uri()}?mode=rw", uri=True, check_same_thread=False
                )
                self._connections.append(connection)
                # SQLite opens the file at the first query.
                connection.execute("SELECT 1 FROM sqlite_master").fetchall()

    def close(self) -> None:
        while self._connections:
            self._connections.pop().close()
