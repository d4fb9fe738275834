"""The next session restores the moved sources of a killed one."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from sessions import make_silent

from asynclive._fs import atomic_rename
from asynclive._fs.atomic_rename import exchange, write_note
from asynclive._workspace.crash_recovery import remove_dead_sessions
from asynclive._workspace.moved_source import MovedSource


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """The temp directory of a killed session."""
    directory = tmp_path / "tmp" / "asynclive-0123456789abcdef"
    directory.mkdir(parents=True)
    (directory / "session").touch()
    return directory


@pytest.fixture
def moved(session: Path, tmp_path: Path) -> MovedSource:
    source, note = tmp_path / "source", session / "0.moved-from"
    write_note(str(note), str(source))
    return MovedSource(str(source), str(note))


@pytest.fixture
def temp_path(session: Path) -> Path:
    return session / "0.moved"


def next_session(tmp_path: Path) -> list[str]:
    """Run crash recovery much later; return the names in the workspace."""
    make_silent(tmp_path / "tmp")
    remove_dead_sessions([str(tmp_path / "tmp")])
    return sorted(path.name for path in tmp_path.iterdir() if path.name != "tmp")


def test_killed_between_link_and_unlink_of_a_restore_the_file_has_one_name(
    moved: MovedSource, temp_path: Path, session: Path, tmp_path: Path
) -> None:
    (tmp_path / "source").write_text("text")
    os.link(moved.source, temp_path)
    assert next_session(tmp_path) == ["source"]
    assert os.stat(moved.source).st_nlink == 1
    assert not session.exists()


def test_killed_during_a_swap_of_a_moved_file_it_is_restored(
    moved: MovedSource,
    temp_path: Path,
    session: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before a source is restored, a link to its object may replace it."""
    monkeypatch.setattr(atomic_rename, "_renameat2", None)
    temp_path.write_text("text")
    (session / "link").write_text("link")
    _killed_after_the_first_rename(monkeypatch, session / "link", str(temp_path))
    assert not temp_path.exists()
    assert next_session(tmp_path) == ["source"]
    assert (tmp_path / "source").read_text() == "text"


def test_killed_during_a_swap_in_a_moved_directory_it_is_restored_completely(
    moved: MovedSource,
    temp_path: Path,
    session: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(atomic_rename, "_renameat2", None)
    inner = temp_path / "inner"
    inner.parent.mkdir()
    inner.write_text("text")
    (session / "link").write_text("link")
    _killed_after_the_first_rename(monkeypatch, session / "link", str(inner))
    assert next_session(tmp_path) == ["source"]
    assert (tmp_path / "source" / "inner").read_text() == "text"


def test_killed_while_a_logged_directory_is_removed_no_part_is_restored(
    moved: MovedSource,
    temp_path: Path,
    session: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temp_path.mkdir()
    for name in "ab":
        (temp_path / name).write_text(name)

    def killed(path: str, **values: object) -> None:
        os.unlink(os.path.join(path, "a"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            moved.discard()
    assert next_session(tmp_path) == []
    assert not session.exists()


def test_a_source_that_cannot_be_restored_or_removed_keeps_its_note(
    moved: MovedSource, temp_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No error is raised: the artifact is logged, or its call raises another error."""
    temp_path.write_text("text")

    def fail(*args: object, **values: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for call, act in (("unlink", moved.discard), ("link", moved.restore)):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            if call == "link":
                patch.setattr(os, "rename", fail)
            act()
    assert temp_path.read_text() == "text"
    assert next_session(tmp_path) == []


def _killed_after_the_first_rename(monkeypatch: pytest.MonkeyPatch, one: Path, other: str) -> None:
    rename = os.rename

    def killed(source: str, target: str) -> None:
        rename(source, target)
        raise SystemExit

    def gone(*args: object) -> bool:  # a killed process undoes nothing
        return True

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", killed)
        patch.setattr(os.path, "lexists", gone)
        with pytest.raises(SystemExit):
            exchange(str(one), other)
