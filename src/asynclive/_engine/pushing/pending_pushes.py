"""PendingPushes: a file for each artifact that is committed and not pushed yet. Blocks.

The next session reads them after a kill. They are hints, not records: a session compares them with
the ``.dvc`` files. So no fsync is needed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from logging import getLogger
from typing import NamedTuple

from ..._fs.file_io import create, remove_file, write_all

logger = getLogger(__name__)

_SUFFIX = ".json"


class PendingPush(NamedTuple):
    """An artifact that is committed and not pushed yet."""

    path: str
    """The tracked path, absolute."""
    md5: str
    """The MD5 of its output, as in the ``.dvc`` file."""
    remote: str
    """The name of the remote."""


class PendingPushes:
    """The pending pushes of a repository, in ``.dvc/tmp/asynclive/pending``.

    Args:
        root: the root of the repository; files have paths below it.
        session: the temp directory of this session. If the process is killed, a later session
            removes it, and so knows that no process works on the pushes any more.
    """

    def __init__(self, root: str, session: str) -> None:
        self._root = root
        tmp_dir, self._session = os.path.split(session)
        self._tmp_dir = tmp_dir
        self._directory = os.path.join(tmp_dir, "asynclive", "pending")

    def add(self, pending: PendingPush) -> None:
        """Write the file of an artifact, in the place of that of an earlier version of it."""
        record = {
            "path": os.path.relpath(pending.path, self._root),
            "md5": pending.md5,
            "remote": pending.remote,
            "session": self._session,
        }
        path = self._file_of(pending.path)
        # The session in the name: another one may write the same file at this moment.
        temp = f"{path}.{self._session}"
        try:
            try:
                fd = create(temp)
            except FileNotFoundError:
                os.makedirs(self._directory, exist_ok=True)
                fd = create(temp)
            try:
                write_all(fd, json.dumps(record).encode())
            finally:
                os.close(fd)
            os.replace(temp, path)
        except OSError as error:  # the push goes on; only a kill would make it late
            logger.warning("Cannot note that '%s' is not pushed yet: %s", pending.path, error)
            with suppress(OSError):
                os.unlink(temp)

    def remove(self, pending: PendingPush) -> None:
        """Remove the file of an artifact, unless it is that of another version or remote."""
        path = self._file_of(pending.path)
        if self._read(path) == pending:
            with suppress(OSError):
                remove_file(path)

    def remove_pushed(self, outputs: Mapping[str, str], remote: str) -> None:
        """Remove the files of outputs that were pushed, and of artifacts in them.

        Args:
            outputs: the MD5s of the outputs, by path.
            remote: the name of the remote.
        """
        for _, pending in list(self._entries()):
            path = pending.path
            while path not in outputs and path != os.path.dirname(path):
                path = os.path.dirname(path)
            if outputs.get(path) == pending.md5 and pending.remote == remote:
                self.remove(pending)

    def take_over(self) -> list[PendingPush]:
        """Return the pushes that sessions left which have ended. They belong to this one now."""
        found = []
        for session, pending in list(self._entries()):
            if not os.path.isdir(os.path.join(self._tmp_dir, session)):
                self.add(pending)
                found.append(pending)
        return found

    def _entries(self) -> Iterator[tuple[str, PendingPush]]:
        """Yield the sessions and their pushes."""
        try:
            names = sorted(os.listdir(self._directory))
        except OSError:  # usually there is none
            return
        for name in names:
            if name.endswith(_SUFFIX):
                found = self._load(os.path.join(self._directory, name))
                if found is not None:
                    yield found

    def _read(self, path: str) -> PendingPush | None:
        found = self._load(path)
        return None if found is None else found[1]

    def _load(self, path: str) -> tuple[str, PendingPush] | None:
        """Return a session and its push; None: the file is gone, or is not complete."""
        try:
            with open(path, encoding="ascii") as file:
                record = json.load(file)
            session, *values = (record[key] for key in ("session", "path", "md5", "remote"))
        except (OSError, ValueError, LookupError, TypeError):
            return None
        if not all(isinstance(value, str) for value in (session, *values)):
            return None
        relpath, md5, remote = values
        return os.path.basename(session), PendingPush(
            os.path.normpath(os.path.join(self._root, relpath)), md5, remote
        )

    def _file_of(self, path: str) -> str:
        name = os.fsencode(os.path.relpath(path, self._root))
        digest = hashlib.md5(name, usedforsecurity=False).hexdigest()
        return os.path.join(self._directory, digest + _SUFFIX)
