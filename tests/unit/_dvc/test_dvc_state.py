"""DVC's state: databases that a session keeps open, and the tokens of directories."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from asynclive._artifact.records import StoredFile
from asynclive._dvc.tracking.dvc_state import FILES_PER_YIELD, OpenDatabases, mtimes_token


def write_and_close(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS things (name)")
    connection.execute("INSERT INTO things VALUES ('a')")
    connection.commit()
    connection.close()


def test_sqlite_writes_its_log_back_only_when_the_session_closes(tmp_path: Path) -> None:
    path, log = tmp_path / "cache.db", tmp_path / "cache.db-wal"
    write_and_close(path)
    assert not log.exists()
    databases = OpenDatabases()
    databases.open([str(path)])
    for _ in range(2):
        write_and_close(path)
        assert log.stat().st_size > 0
    databases.close()
    assert not log.exists()
    databases.close()


def test_a_database_that_does_not_exist_is_not_created(tmp_path: Path) -> None:
    databases = OpenDatabases()
    databases.open([str(tmp_path / "none.db")])
    databases.close()
    assert list(tmp_path.iterdir()) == []


def test_the_token_of_a_directory_equals_that_of_dvc() -> None:
    from dvc_data.hashfile.utils import _tokenize_mtimes

    for count in (0, 1, 2, FILES_PER_YIELD, FILES_PER_YIELD + 1, 3 * FILES_PER_YIELD + 7):
        files = [
            StoredFile(("a-b" if n % 3 else "a", f"ü{n}"), "", 0, False, 0, 10**18 + 7 * n)
            for n in range(count)
        ]
        mtimes = {os.sep.join(("/w/d", *file.key)): file.mtime for file in files}
        assert mtimes_token("/w/d", files) == _tokenize_mtimes(mtimes)
