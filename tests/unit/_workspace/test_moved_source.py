"""What a session that was killed had moved aside, and what the next one makes of it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from asynclive._fs import atomic_rename
from asynclive._fs.atomic_rename import exchange, write_note
from asynclive._workspace.crash_recovery import remove_dead_sessions
from asynclive._workspace.moved_source import MovedSource


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """The directory of a session that nobody holds."""
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
def aside(session: Path) -> Path:
    return session / "0.moved"


def next_session(tmp_path: Path) -> list[str]:
    """Clears up; what is in the workspace then."""
    remove_dead_sessions([str(tmp_path / "tmp")])
    return sorted(path.name for path in tmp_path.iterdir() if path.name != "tmp")


def test_killed_between_the_two_steps_of_putting_back_it_is_there_once(
    moved: MovedSource, aside: Path, session: Path, tmp_path: Path
) -> None:
    (tmp_path / "source").write_text("text")
    os.link(moved.source, aside)
    assert next_session(tmp_path) == ["source"]
    assert os.stat(moved.source).st_nlink == 1
    assert not session.exists()


def test_killed_in_a_swap_of_what_is_aside_it_is_put_back(
    moved: MovedSource, aside: Path, session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link to the object takes its place before it goes to its path again."""
    monkeypatch.setattr(atomic_rename, "_renameat2", None)
    aside.write_text("text")
    (session / "link").write_text("link")
    _killed_after_the_first_rename(monkeypatch, session / "link", str(aside))
    assert not aside.exists()
    assert next_session(tmp_path) == ["source"]
    assert (tmp_path / "source").read_text() == "text"


def test_killed_in_a_swap_within_a_directory_that_is_aside_it_is_put_back_whole(
    moved: MovedSource, aside: Path, session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_rename, "_renameat2", None)
    inner = aside / "inner"
    inner.parent.mkdir()
    inner.write_text("text")
    (session / "link").write_text("link")
    _killed_after_the_first_rename(monkeypatch, session / "link", str(inner))
    assert next_session(tmp_path) == ["source"]
    assert (tmp_path / "source" / "inner").read_text() == "text"


def test_killed_while_a_logged_directory_is_removed_no_part_of_it_comes_back(
    moved: MovedSource, aside: Path, session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside.mkdir()
    for name in "ab":
        (aside / name).write_text(name)

    def killed(path: str, **values: object) -> None:
        os.unlink(os.path.join(path, "a"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            moved.discard()
    assert next_session(tmp_path) == []
    assert not session.exists()


def test_what_cannot_be_put_back_or_removed_stays_with_its_note(
    moved: MovedSource, aside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is an error of the artifact: that is logged, or has one of its own."""
    aside.write_text("text")

    def fail(*args: object, **values: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for call, act in (("unlink", moved.discard), ("link", moved.restore)):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            if call == "link":
                patch.setattr(os, "rename", fail)
            act()
    assert aside.read_text() == "text"
    assert next_session(tmp_path) == []


def _killed_after_the_first_rename(monkeypatch: pytest.MonkeyPatch, one: Path, other: str) -> None:
    rename = os.rename

    def killed(source: str, target: str) -> None:
        rename(source, target)
        raise SystemExit

    def gone(*args: object) -> bool:  # a process that is killed undoes nothing
        return True

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", killed)
        patch.setattr(os.path, "lexists", gone)
        with pytest.raises(SystemExit):
            exchange(str(one), other)
