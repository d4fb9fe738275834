"""PendingPushes: the files of artifacts that are committed and not pushed yet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asynclive._engine.pushing.pending_pushes import PendingPush, PendingPushes


def pending_in(root: Path, session: str) -> PendingPushes:
    directory = root / ".dvc" / "tmp" / session
    directory.mkdir(parents=True, exist_ok=True)
    return PendingPushes(str(root), str(directory))


def files_in(root: Path) -> list[str]:
    return sorted(os.listdir(root / ".dvc" / "tmp" / "asynclive" / "pending"))


def test_an_artifact_has_one_file_which_names_its_last_version(tmp_path: Path) -> None:
    pending = pending_in(tmp_path, "asynclive-1")
    first = PendingPush(str(tmp_path / "a"), "1" * 32, "store")
    last = first._replace(md5="2" * 32)
    pending.add(first)
    pending.add(last)
    assert len(files_in(tmp_path)) == 1
    pending.remove(first)
    assert len(files_in(tmp_path)) == 1
    pending.remove(last)
    assert files_in(tmp_path) == []


def test_a_session_takes_over_from_sessions_that_have_ended(tmp_path: Path) -> None:
    killed = pending_in(tmp_path, "asynclive-1")
    living = pending_in(tmp_path, "asynclive-2")
    lost = PendingPush(str(tmp_path / "a \udcff"), "1" * 32 + ".dir", "store")
    killed.add(lost)
    living.add(PendingPush(str(tmp_path / "b"), "2" * 32, "store"))
    (tmp_path / ".dvc" / "tmp" / "asynclive-1").rmdir()
    (tmp_path / ".dvc" / "tmp" / "asynclive" / "pending" / "half.json").write_text('{"path"')
    assert pending_in(tmp_path, "asynclive-3").take_over() == [lost]
    assert pending_in(tmp_path, "asynclive-4").take_over() == []  # the third one works on it


@pytest.mark.parametrize(
    ("output", "md5", "remote", "left"),
    [
        ("data", "1", "store", 0),
        ("data/part", "1", "store", 0),
        ("data", "2", "store", 1),
        ("data", "1", "other", 1),
        ("dat", "1", "store", 1),
    ],
)
def test_a_pushed_output_takes_the_files_of_artifacts_in_it_along(
    tmp_path: Path, output: str, md5: str, remote: str, left: int
) -> None:
    pending = pending_in(tmp_path, "asynclive-1")
    pending.add(PendingPush(str(tmp_path / "data" / "part"), "1", "store"))
    pending.remove_pushed({str(tmp_path / output): md5}, remote)
    assert len(files_in(tmp_path)) == left


def test_nothing_is_read_where_nothing_was_written(tmp_path: Path) -> None:
    pending = pending_in(tmp_path, "asynclive-1")
    pending.remove_pushed({}, "store")
    pending.remove(PendingPush(str(tmp_path / "a"), "1", "store"))
    assert pending.take_over() == []
    assert not (tmp_path / ".dvc" / "tmp" / "asynclive").exists()


def test_a_file_that_cannot_be_written_is_named_in_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pending = pending_in(tmp_path, "asynclive-1")
    (tmp_path / ".dvc" / "tmp" / "asynclive").write_text("a file where the directory should be")
    pending.add(PendingPush(str(tmp_path / "a"), "1", "store"))
    assert f"Cannot note that '{tmp_path / 'a'}' is not pushed yet" in caplog.text
