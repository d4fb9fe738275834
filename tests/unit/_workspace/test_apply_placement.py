"""Placements: new files take their places, and an undo restores the old ones."""

from __future__ import annotations

import errno
import os
import pickle
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from path_kinds import MAKE, look, make_dir

from asynclive._artifact.placement import Mode, Move, Placement
from asynclive._fs.atomic_rename import exchange
from asynclive._fs.remove_tree import remove_tree
from asynclive._workspace import apply_placement as applying
from asynclive._workspace.apply_placement import (
    apply_placement,
    make_parents,
    remove_made_parents,
    undo_placement,
)


def fingerprint(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_ino, found.st_mtime_ns


@pytest.fixture
def temps(tmp_path: Path) -> Path:
    (tmp_path / "temps").mkdir()
    return tmp_path / "temps"


def test_a_new_file_is_placed_and_the_undo_removes_it(tmp_path: Path, temps: Path) -> None:
    make_dir(temps / "0", "new")
    placement = Placement((Move(str(temps / "0"), str(tmp_path / "data")),))
    new = list(look(temps / "0"))
    undo = apply_placement(placement)
    assert list(look(tmp_path / "data")) == new
    undo_placement(undo)
    assert os.listdir(tmp_path) == ["temps"]
    remove_temps(placement)
    assert os.listdir(temps) == []


@pytest.mark.parametrize("make_old", MAKE)
@pytest.mark.parametrize("make_new", MAKE)
def test_an_old_file_is_replaced_and_the_undo_restores_it(
    tmp_path: Path,
    temps: Path,
    way: str,
    make_old: Callable[[Path, str], None],
    make_new: Callable[[Path, str], None],
) -> None:
    path = tmp_path / "data"
    make_old(path, "old")
    make_new(temps / "0", "new")
    placement = Placement((Move(str(temps / "0"), str(path)),))
    old, new = list(look(path)), list(look(temps / "0"))
    undo = apply_placement(placement)
    assert list(look(path)) == new
    undo_placement(undo)
    assert list(look(path)) == old
    apply_placement(placement)
    remove_temps(placement)
    assert list(look(path)) == new
    assert os.listdir(temps) == []


def test_if_one_move_fails_nothing_has_changed(tmp_path: Path, temps: Path, way: str) -> None:
    (tmp_path / "a").write_text("old a")
    (tmp_path / "mode").write_text("")
    (tmp_path / "mode").chmod(0o600)
    for name in ("0", "1"):
        (temps / name).write_text(f"new {name}")
    before = list(look(tmp_path))
    placement = Placement(
        (
            Move(str(temps / "0"), str(tmp_path / "a")),
            Move(str(temps / "1"), str(tmp_path / "b")),
            Move(str(temps / "2"), str(tmp_path / "missing" / "c")),
        ),
        ((str(tmp_path / "mode"), 0o644),),
    )
    with pytest.raises(FileNotFoundError):
        apply_placement(placement)
    assert list(look(tmp_path)) == before
    assert stat.S_IMODE((tmp_path / "mode").stat().st_mode) == 0o600


def test_if_a_mode_cannot_be_set_nothing_has_changed(tmp_path: Path, temps: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o600)
    (temps / "0").write_text("new")
    placement = Placement(
        (Move(str(temps / "0"), str(tmp_path / "b")),),
        (Mode(str(tmp_path / "a"), 0o644), Mode(str(tmp_path / "missing"), 0o644)),
    )
    with pytest.raises(FileNotFoundError):
        apply_placement(placement)
    assert not (tmp_path / "b").exists()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_modes_are_set_and_the_undo_restores_them(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(0o600)
    undo = apply_placement(Placement(modes=(Mode(str(path), 0o644),)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    undo_placement(undo)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_last_change_is_undone_first(tmp_path: Path, temps: Path, way: str) -> None:
    path = tmp_path / "data"
    path.write_text("old")
    path.chmod(0o640)
    (temps / "0").write_text("new")
    (temps / "0").chmod(0o600)
    undo = apply_placement(
        Placement(
            (Move(str(temps / "0"), str(path)),),
            (Mode(str(path), 0o644), Mode(str(path), 0o755)),
        )
    )
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o755)
    undo_placement(undo)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("old", 0o640)
    assert stat.S_IMODE((temps / "0").stat().st_mode) == 0o600


def test_an_undo_is_a_record_that_pickles(tmp_path: Path, temps: Path, way: str) -> None:
    for name in "ab":
        (tmp_path / name).write_text("old")
    (tmp_path / "a").chmod(0o600)
    for name in "012":
        (temps / name).write_text("new")
    before = list(look(tmp_path))
    undo = apply_placement(
        Placement(
            (
                Move(str(temps / "0"), str(tmp_path / "a")),
                Move(str(temps / "1"), str(tmp_path / "b"), fingerprint(tmp_path / "b")),
                Move(str(temps / "2"), str(tmp_path / "c")),
            ),
            (Mode(str(tmp_path / "b"), 0o600),),
        ),
        str(tmp_path),
    )
    copied = pickle.loads(pickle.dumps(undo))
    assert copied == undo
    assert len({type(change) for change in copied.changes}) == 3
    undo_placement(copied)
    assert list(look(tmp_path)) == before


def test_an_unchanged_file_is_replaced(tmp_path: Path, temps: Path, way: str) -> None:
    path = tmp_path / "data"
    path.write_text("seen")
    (temps / "0").symlink_to("object")
    move = Move(str(temps / "0"), str(path), fingerprint(path))
    apply_placement(Placement((move,)))
    assert os.readlink(path) == "object"


def rewrite(path: Path) -> None:
    path.write_text("newer")
    os.utime(path, ns=(1, 1))


def replace(path: Path) -> None:
    (path.parent / "new").write_text("newer")
    (path.parent / "new").rename(path)


def relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("newer")


@pytest.mark.parametrize("change", [rewrite, replace, relink, Path.unlink])
def test_newer_bytes_of_the_user_stay(
    tmp_path: Path, temps: Path, way: str, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "data"
    path.write_text("seen")
    (temps / "0").write_text("ours")
    placement = Placement((Move(str(temps / "0"), str(path), fingerprint(path)),))
    change(path)
    newer = list(look(tmp_path))
    undo = apply_placement(placement)
    assert list(look(tmp_path)) == newer
    undo_placement(undo)
    assert list(look(tmp_path)) == newer
    remove_temps(placement)
    assert os.listdir(temps) == []


@pytest.mark.parametrize("change", [rewrite, replace, relink, Path.unlink])
def test_newer_bytes_written_between_check_and_exchange_stay(
    tmp_path: Path,
    temps: Path,
    way: str,
    change: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "data"
    path.write_text("seen")
    (temps / "0").write_text("ours")
    placement = Placement((Move(str(temps / "0"), str(path), fingerprint(path)),))

    def change_first(*args: str) -> None:
        monkeypatch.setattr(applying, "exchange", exchange)
        change(path)
        exchange(*args)

    monkeypatch.setattr(applying, "exchange", change_first)
    undo_placement(apply_placement(placement))
    if change is Path.unlink:
        assert not path.exists()
    elif change is relink:
        assert os.readlink(path) == "newer"
    else:
        assert path.read_text() == "newer"
    assert (temps / "0").read_text() == "ours"


def test_newer_bytes_written_during_the_exchange_stay(
    tmp_path: Path, temps: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer bytes come before the exchange, and still newer ones before it is undone."""
    path = tmp_path / "data"
    path.write_text("seen")
    (temps / "0").write_text("ours")
    placement = Placement((Move(str(temps / "0"), str(path), fingerprint(path)),))
    texts = ["newer", "newest"]

    def write_first(*args: str) -> None:
        if texts:
            (tmp_path / "new").write_text(texts.pop(0))
            (tmp_path / "new").rename(path)
        exchange(*args)

    monkeypatch.setattr(applying, "exchange", write_first)
    apply_placement(placement)
    assert path.read_text() == "newest"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells of writers")
def test_a_file_that_is_open_for_writing_stays(tmp_path: Path, temps: Path, way: str) -> None:
    path = tmp_path / "data"
    path.write_text("seen")
    (temps / "0").write_text("ours")
    placement = Placement((Move(str(temps / "0"), str(path), fingerprint(path)),))
    with path.open("r+") as writer:
        apply_placement(placement)
        writer.write("newer")
    assert path.read_text() == "newer"
    with path.open() as reader:
        placement = Placement((Move(str(temps / "0"), str(path), fingerprint(path)),))
        apply_placement(placement)
        assert reader.read() == "newer"
    assert path.read_text() == "ours"


@pytest.mark.parametrize("change", [rewrite, replace, relink, Path.unlink])
def test_newer_bytes_stay_on_undo(
    tmp_path: Path, temps: Path, way: str, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "data"
    path.write_text("seen")
    (temps / "0").write_text("ours")
    undo = apply_placement(Placement((Move(str(temps / "0"), str(path), fingerprint(path)),)))
    assert path.read_text() == "ours"
    change(path)
    newer = [one for one in look(tmp_path) if not one[0].startswith("temps")]
    undo_placement(undo)
    assert [one for one in look(tmp_path) if not one[0].startswith("temps")] == newer


def test_a_link_stays_if_the_file_behind_it_was_written(
    tmp_path: Path, temps: Path, way: str
) -> None:
    behind, path = tmp_path / "behind", tmp_path / "data"
    behind.write_text("seen")
    path.symlink_to("behind")
    (temps / "0").write_text("ours")
    behind_fingerprint = behind.stat().st_ino, behind.stat().st_mtime_ns
    placement = Placement(
        (Move(str(temps / "0"), str(path), fingerprint(path), behind_fingerprint),)
    )
    rewrite(behind)
    apply_placement(placement)
    assert os.readlink(path) == "behind"


@pytest.mark.parametrize("make", MAKE)
def test_a_source_of_the_user_is_restored_only_to_a_free_path(
    tmp_path: Path, temps: Path, way: str, make: Callable[[Path, str], None]
) -> None:
    make(temps / "0", "moved")
    move = Move(str(temps / "0"), str(tmp_path / "data"), if_free=True)
    assert Placement((move,)).temp_paths == []
    undo = apply_placement(Placement((move,)))
    assert os.listdir(temps) == []
    undo_placement(undo)
    assert os.listdir(temps) == ["0"]
    (tmp_path / "data").write_text("newer")
    undo_placement(apply_placement(Placement((move,))))
    assert (tmp_path / "data").read_text() == "newer"
    assert os.listdir(temps) == ["0"]


def test_modes_of_newer_files_are_not_set(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(0o600)
    seen = Mode(str(path), 0o644, fingerprint(path))
    rewrite(path)
    path.chmod(0o600)
    undo_placement(apply_placement(Placement(modes=(seen,))))
    path.unlink()
    undo_placement(apply_placement(Placement(modes=(seen,))))
    assert not path.exists()


def test_a_hard_link_to_the_same_file_changes_nothing(
    tmp_path: Path, temps: Path, way: str
) -> None:
    path = tmp_path / "data"
    path.write_text("same")
    os.link(path, temps / "0")
    placement = Placement((Move(str(temps / "0"), str(path), fingerprint(path)),))
    inode = path.stat().st_ino
    undo_placement(apply_placement(placement))
    apply_placement(placement)
    remove_temps(placement)
    assert path.stat().st_ino == inode
    assert path.stat().st_nlink == 1
    assert os.listdir(temps) == []


def remove_temps(placement: Placement) -> None:
    for path in placement.temp_paths:
        remove_tree(path)


def test_removing_temp_paths_can_be_repeated_and_keeps_placed_files(
    tmp_path: Path, temps: Path
) -> None:
    (tmp_path / "data").write_text("old")
    (temps / "0").write_text("new")
    placement = Placement((Move(str(temps / "0"), str(tmp_path / "data")),))
    apply_placement(placement)
    remove_temps(placement)
    remove_temps(placement)
    assert (tmp_path / "data").read_text() == "new"


@pytest.mark.parametrize("newer", [False, True], ids=["alone", "and replaced in between"])
def test_if_the_old_file_cannot_be_examined_the_exchange_is_undone(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch, newer: bool
) -> None:
    path, new = tmp_path / "path", tmp_path / "new"
    path.write_text("seen")
    new.write_text("new")
    move = Move(str(new), str(path), fingerprint(path))
    lstat, struck = os.lstat, []

    def failing(name: str) -> os.stat_result:
        if name == str(new) and path.read_text() == "new" and not struck:
            struck.append(name)
            if newer:
                (tmp_path / "newer").write_text("newer")
                (tmp_path / "newer").rename(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)
        return lstat(name)

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", failing)
        with pytest.raises(OSError, match="error"):
            apply_placement(Placement((move,)))
    assert struck
    assert path.read_text() == ("newer" if newer else "seen")


def test_an_unconditional_move_does_not_examine_the_old_file(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a failing call could leave its copy: the exchange must be the last step to fail."""
    path, new = tmp_path / "path", tmp_path / "new"
    path.write_text("before")
    new.write_text("new")
    lstat = os.lstat

    def failing(name: str) -> os.stat_result:
        if name == str(new) and path.read_text() == "new":
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)
        return lstat(name)

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", failing)
        apply_placement(Placement((Move(str(new), str(path)),)))
    assert path.read_text() == "new"


# --- Directories ----------------------------------------------------------------------------


def test_missing_directories_are_made_and_the_undo_removes_them(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    made = make_parents(str(tmp_path / "a" / "b" / "c" / "file"))
    assert (tmp_path / "a" / "b" / "c").is_dir()
    remove_made_parents(made)
    assert list(tmp_path.rglob("*")) == [tmp_path / "a"]


def test_a_directory_that_is_in_use_stays(tmp_path: Path) -> None:
    made = make_parents(str(tmp_path / "a" / "b" / "file"))
    (tmp_path / "a" / "theirs").touch()
    remove_made_parents(made)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "a" / "theirs"]


def test_with_nothing_to_make_nothing_is_removed(tmp_path: Path) -> None:
    remove_made_parents(make_parents(str(tmp_path / "file")))
    assert tmp_path.is_dir()


def test_directories_that_cannot_all_be_made_are_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def mkdir_one(path: str) -> None:
        if path.endswith("b"):
            raise OSError(errno.ENOSPC, "No space left on device")
        mkdir(path)

    monkeypatch.setattr(applying.os, "mkdir", mkdir_one)
    with pytest.raises(OSError, match="No space left"):
        make_parents(str(tmp_path / "a" / "b" / "file"))
    assert os.listdir(tmp_path) == []
