"""DVC's state databases, held open.

DVC closes them after each command. Whoever is the last to close a database of SQLite's writes
its log back into it and waits for the disk, which takes longer than a commit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


class OpenDatabases:
    """As long as it is not closed, nobody else is the last to close one of them."""

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
