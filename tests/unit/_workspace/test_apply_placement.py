"""Placing: complete beside, then replaced; and all of it taken back."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asynclive._artifact.placement import Mode, Move, Placement
from asynclive._fs import atomic_rename
from asynclive._fs.atomic_rename import exchange, repair_swaps
from asynclive._fs.remove_tree import remove_tree
from asynclive._workspace import apply_placement as applying
from asynclive._workspace.apply_placement import apply_placement, make_parents


@pytest.fixture(params=["renameat2", "three renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the system's exchange, and where it has none."""
    if request.param == "three renames":
        monkeypatch.setattr(atomic_rename, "_renameat2", None)
    return str(request.param)


def make_file(path: Path, text: str) -> None:
    path.write_text(text)


def make_dir(path: Path, text: str) -> None:
    path.mkdir()
    (path / "below").write_text(text)


def make_link(path: Path, text: str) -> None:
    path.symlink_to(text)


MAKE: list[Callable[[Path, str], None]] = [make_file, make_dir, make_link]


def look(path: Path) -> Iterator[tuple[str, str, int]]:
    """Everything at and below a path: name, what it holds, inode."""
    for found in [path, *sorted(path.rglob("*"))]:
        if found.is_symlink():
            held = f"-> {os.readlink(found)}"
        else:
            held = found.read_text() if found.is_file() else "directory"
        yield str(found.relative_to(path)), held, found.lstat().st_ino


def stamp(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_ino, found.st_mtime_ns


# --- Exchange -------------------------------------------------------------------------------


@pytest.mark.parametrize("make_one", MAKE)
@pytest.mark.parametrize("make_other", MAKE)
def test_two_paths_swap_whatever_they_are(
    tmp_path: Path,
    way: str,
    make_one: Callable[[Path, str], None],
    make_other: Callable[[Path, str], None],
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    make_one(one, "1")
    make_other(other, "2")
    before = list(look(one)), list(look(other))
    exchange(str(one), str(other))
    assert (list(look(other)), list(look(one))) == before
    assert sorted(os.listdir(tmp_path)) == ["one", "other"]


@pytest.mark.parametrize("missing", ["one", "other"])
def test_a_path_that_is_missing_is_an_error_and_the_other_one_stays(
    tmp_path: Path, way: str, missing: str
) -> None:
    there = tmp_path / ({"one", "other"} - {missing}).pop()
    there.write_text("mine")
    with pytest.raises(FileNotFoundError):
        exchange(str(tmp_path / "one"), str(tmp_path / "other"))
    assert os.listdir(tmp_path) == [there.name]
    assert there.read_text() == "mine"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_exchange_gets_three_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*args: object) -> int:
        atomic_rename.ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(atomic_rename, "_renameat2", refuse)
    (tmp_path / "one").write_text("1")
    (tmp_path / "other").write_text("2")
    exchange(str(tmp_path / "one"), str(tmp_path / "other"))
    assert (tmp_path / "one").read_text() == "2"
    assert (tmp_path / "other").read_text() == "1"


def test_another_answer_is_an_error_that_names_the_destination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> int:
        atomic_rename.ctypes.set_errno(errno.EROFS)
        return -1

    monkeypatch.setattr(atomic_rename, "_renameat2", refuse)
    with pytest.raises(OSError, match="Read-only file system") as caught:
        exchange("/one", "/other")
    assert (caught.value.errno, caught.value.filename) == (errno.EROFS, "/other")


# --- Placement ------------------------------------------------------------------------------


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    (tmp_path / "beside").mkdir()
    return tmp_path / "beside"


def test_what_was_missing_is_there_and_gone_again_when_taken_back(
    tmp_path: Path, beside: Path
) -> None:
    make_dir(beside / "0", "new")
    placement = Placement((Move(str(beside / "0"), str(tmp_path / "data")),))
    new = list(look(beside / "0"))
    take_back = apply_placement(placement)
    assert list(look(tmp_path / "data")) == new
    take_back()
    assert os.listdir(tmp_path) == ["beside"]
    clear(placement)
    assert os.listdir(beside) == []


@pytest.mark.parametrize("make_old", MAKE)
@pytest.mark.parametrize("make_new", MAKE)
def test_what_was_there_is_replaced_and_back_when_taken_back(
    tmp_path: Path,
    beside: Path,
    way: str,
    make_old: Callable[[Path, str], None],
    make_new: Callable[[Path, str], None],
) -> None:
    path = tmp_path / "data"
    make_old(path, "old")
    make_new(beside / "0", "new")
    placement = Placement((Move(str(beside / "0"), str(path)),))
    old, new = list(look(path)), list(look(beside / "0"))
    take_back = apply_placement(placement)
    assert list(look(path)) == new
    take_back()
    assert list(look(path)) == old
    apply_placement(placement)
    clear(placement)
    assert list(look(path)) == new
    assert os.listdir(beside) == []


def test_if_one_move_fails_nothing_has_changed(tmp_path: Path, beside: Path, way: str) -> None:
    (tmp_path / "a").write_text("old a")
    (tmp_path / "mode").write_text("")
    (tmp_path / "mode").chmod(0o600)
    for name in ("0", "1"):
        (beside / name).write_text(f"new {name}")
    before = list(look(tmp_path))
    placement = Placement(
        (
            Move(str(beside / "0"), str(tmp_path / "a")),
            Move(str(beside / "1"), str(tmp_path / "b")),
            Move(str(beside / "2"), str(tmp_path / "missing" / "c")),
        ),
        ((str(tmp_path / "mode"), 0o644),),
    )
    with pytest.raises(FileNotFoundError):
        apply_placement(placement)
    assert list(look(tmp_path)) == before
    assert stat.S_IMODE((tmp_path / "mode").stat().st_mode) == 0o600


def test_if_a_mode_cannot_be_set_nothing_has_changed(tmp_path: Path, beside: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o600)
    (beside / "0").write_text("new")
    placement = Placement(
        (Move(str(beside / "0"), str(tmp_path / "b")),),
        (Mode(str(tmp_path / "a"), 0o644), Mode(str(tmp_path / "missing"), 0o644)),
    )
    with pytest.raises(FileNotFoundError):
        apply_placement(placement)
    assert not (tmp_path / "b").exists()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_modes_are_set_and_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(0o600)
    take_back = apply_placement(Placement(modes=(Mode(str(path), 0o644),)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    take_back()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_was_done_last_is_taken_back_first(tmp_path: Path, beside: Path, way: str) -> None:
    path = tmp_path / "data"
    path.write_text("old")
    path.chmod(0o640)
    (beside / "0").write_text("new")
    (beside / "0").chmod(0o600)
    take_back = apply_placement(
        Placement(
            (Move(str(beside / "0"), str(path)),),
            (Mode(str(path), 0o644), Mode(str(path), 0o755)),
        )
    )
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o755)
    take_back()
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("old", 0o640)
    assert stat.S_IMODE((beside / "0").stat().st_mode) == 0o600


def test_an_unchanged_file_gives_way(tmp_path: Path, beside: Path, way: str) -> None:
    path = tmp_path / "data"
    path.write_text("seen")
    (beside / "0").symlink_to("object")
    move = Move(str(beside / "0"), str(path), stamp(path))
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
def test_newer_bytes_of_the_caller_stay(
    tmp_path: Path, beside: Path, way: str, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "data"
    path.write_text("seen")
    (beside / "0").write_text("ours")
    placement = Placement((Move(str(beside / "0"), str(path), stamp(path)),))
    change(path)
    newer = list(look(tmp_path))
    take_back = apply_placement(placement)
    assert list(look(tmp_path)) == newer
    take_back()
    assert list(look(tmp_path)) == newer
    clear(placement)
    assert os.listdir(beside) == []


@pytest.mark.parametrize("change", [rewrite, replace, relink, Path.unlink])
def test_newer_bytes_stay_that_come_between_the_look_and_the_exchange(
    tmp_path: Path,
    beside: Path,
    way: str,
    change: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "data"
    path.write_text("seen")
    (beside / "0").write_text("ours")
    placement = Placement((Move(str(beside / "0"), str(path), stamp(path)),))

    def change_first(*args: str) -> None:
        monkeypatch.setattr(applying, "exchange", exchange)
        change(path)
        exchange(*args)

    monkeypatch.setattr(applying, "exchange", change_first)
    apply_placement(placement)()
    if change is Path.unlink:
        assert not path.exists()
    elif change is relink:
        assert os.readlink(path) == "newer"
    else:
        assert path.read_text() == "newer"
    assert (beside / "0").read_text() == "ours"


def test_what_somebody_puts_there_during_the_exchange_stays(
    tmp_path: Path, beside: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer bytes before it, and still newer ones before it is taken back."""
    path = tmp_path / "data"
    path.write_text("seen")
    (beside / "0").write_text("ours")
    placement = Placement((Move(str(beside / "0"), str(path), stamp(path)),))
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
def test_a_file_that_somebody_has_open_for_writing_stays(
    tmp_path: Path, beside: Path, way: str
) -> None:
    path = tmp_path / "data"
    path.write_text("seen")
    (beside / "0").write_text("ours")
    placement = Placement((Move(str(beside / "0"), str(path), stamp(path)),))
    with path.open("r+") as writer:
        apply_placement(placement)
        writer.write("newer")
    assert path.read_text() == "newer"
    with path.open() as reader:
        placement = Placement((Move(str(beside / "0"), str(path), stamp(path)),))
        apply_placement(placement)
        assert reader.read() == "newer"
    assert path.read_text() == "ours"


@pytest.mark.parametrize("change", [rewrite, replace, relink, Path.unlink])
def test_newer_bytes_stay_when_it_is_taken_back(
    tmp_path: Path, beside: Path, way: str, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "data"
    path.write_text("seen")
    (beside / "0").write_text("ours")
    take_back = apply_placement(Placement((Move(str(beside / "0"), str(path), stamp(path)),)))
    assert path.read_text() == "ours"
    change(path)
    newer = [one for one in look(tmp_path) if not one[0].startswith("beside")]
    take_back()
    assert [one for one in look(tmp_path) if not one[0].startswith("beside")] == newer


def test_a_link_stays_if_the_file_behind_it_was_written(
    tmp_path: Path, beside: Path, way: str
) -> None:
    behind, path = tmp_path / "behind", tmp_path / "data"
    behind.write_text("seen")
    path.symlink_to("behind")
    (beside / "0").write_text("ours")
    held = behind.stat().st_ino, behind.stat().st_mtime_ns
    placement = Placement((Move(str(beside / "0"), str(path), stamp(path), held),))
    rewrite(behind)
    apply_placement(placement)
    assert os.readlink(path) == "behind"


@pytest.mark.parametrize("make", MAKE)
def test_what_was_the_callers_goes_back_only_where_nothing_is(
    tmp_path: Path, beside: Path, way: str, make: Callable[[Path, str], None]
) -> None:
    make(beside / "0", "moved")
    move = Move(str(beside / "0"), str(tmp_path / "data"), if_free=True)
    assert Placement((move,)).beside == []
    take_back = apply_placement(Placement((move,)))
    assert os.listdir(beside) == []
    take_back()
    assert os.listdir(beside) == ["0"]
    (tmp_path / "data").write_text("newer")
    apply_placement(Placement((move,)))()
    assert (tmp_path / "data").read_text() == "newer"
    assert os.listdir(beside) == ["0"]


def test_modes_are_not_set_of_what_is_newer(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(0o600)
    seen = Mode(str(path), 0o644, stamp(path))
    rewrite(path)
    path.chmod(0o600)
    apply_placement(Placement(modes=(seen,)))()
    path.unlink()
    apply_placement(Placement(modes=(seen,)))()
    assert not path.exists()


def test_a_hard_link_to_the_file_that_is_there_changes_nothing(
    tmp_path: Path, beside: Path, way: str
) -> None:
    path = tmp_path / "data"
    path.write_text("same")
    os.link(path, beside / "0")
    placement = Placement((Move(str(beside / "0"), str(path), stamp(path)),))
    inode = path.stat().st_ino
    apply_placement(placement)()
    apply_placement(placement)
    clear(placement)
    assert path.stat().st_ino == inode
    assert path.stat().st_nlink == 1
    assert os.listdir(beside) == []


def clear(placement: Placement) -> None:
    for path in placement.beside:
        remove_tree(path)


def test_clearing_can_be_repeated_and_leaves_what_was_placed(tmp_path: Path, beside: Path) -> None:
    (tmp_path / "data").write_text("old")
    (beside / "0").write_text("new")
    placement = Placement((Move(str(beside / "0"), str(tmp_path / "data")),))
    apply_placement(placement)
    clear(placement)
    clear(placement)
    assert (tmp_path / "data").read_text() == "new"


# --- Directories ----------------------------------------------------------------------------


def test_missing_directories_are_made_and_gone_when_taken_back(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    take_back = make_parents(str(tmp_path / "a" / "b" / "c" / "file"))
    assert (tmp_path / "a" / "b" / "c").is_dir()
    take_back()
    assert list(tmp_path.rglob("*")) == [tmp_path / "a"]


def test_a_directory_that_somebody_uses_by_now_stays(tmp_path: Path) -> None:
    take_back = make_parents(str(tmp_path / "a" / "b" / "file"))
    (tmp_path / "a" / "theirs").touch()
    take_back()
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "a" / "theirs"]


def test_with_nothing_to_make_nothing_is_removed(tmp_path: Path) -> None:
    make_parents(str(tmp_path / "file"))()
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


@pytest.mark.parametrize("make", MAKE)
def test_a_path_of_any_kind_is_removed(tmp_path: Path, make: Callable[[Path, str], None]) -> None:
    make(tmp_path / "data", "text")
    remove_tree(str(tmp_path / "data"))
    remove_tree(str(tmp_path / "data"))
    assert os.listdir(tmp_path) == []


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    make_dir(tmp_path / "kept", "text")
    make_dir(tmp_path / "data", "text")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("data", "link"):
        remove_tree(str(tmp_path / name))
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["kept", "below"]


def protected_tree(path: Path, mode: int) -> None:
    for directory in (path, path / "a", path / "a" / "b"):
        make_dir(directory, "text")
        (directory / "below").chmod(0o444)
    for directory in (path / "a" / "b", path / "a", path):
        directory.chmod(mode)


def test_a_write_protected_tree_is_removed(tmp_path: Path) -> None:
    protected_tree(tmp_path / "data", 0o555)
    remove_tree(str(tmp_path / "data"))
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("unprivileged")
@pytest.mark.parametrize("mode", [0o000, 0o300])
def test_a_tree_that_may_not_be_read_is_removed(tmp_path: Path, mode: int) -> None:
    protected_tree(tmp_path / "data", mode)
    try:
        remove_tree(str(tmp_path / "data"))
    finally:
        make_removable(tmp_path / "data")
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("unprivileged")
@pytest.mark.parametrize("mode", [0o000, 0o300, 0o555])
def test_a_tree_that_cannot_be_made_writable_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    # As when somebody else owns it.
    def refuse(*args: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    protected_tree(tmp_path / "data", mode)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(applying.os, "chmod", refuse)
            with pytest.raises(PermissionError):
                remove_tree(str(tmp_path / "data"))
    finally:
        make_removable(tmp_path / "data")


def make_removable(path: Path) -> None:
    """Or pytest could not remove it."""
    for name in ("", "a", "a/b"):
        if (path / name).exists():
            (path / name).chmod(0o700)


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_removing_a_link_leaves_the_modes_of_what_it_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: Callable[[str, str], None]
) -> None:
    target = tmp_path / "object"
    target.write_text("mine")
    target.chmod(0o444)
    tree = tmp_path / "tree"
    tree.mkdir(0o555)
    link(str(target), str(tree / "link"))
    unlink = os.unlink

    def unlink_from_writable(path: str, *, dir_fd: int | None = None) -> None:
        """As for anybody but root."""
        if not tree.stat().st_mode & stat.S_IWUSR:
            raise PermissionError(errno.EACCES, "write-protected", path)
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink_from_writable)
    remove_tree(str(tree))
    assert os.listdir(tmp_path) == ["object"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o444


# --- Repair ---------------------------------------------------------------------------------


class KilledError(BaseException):
    """Stands for a kill: nothing is undone."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make the n-th rename from now on, and all that is to undo it, fail."""

    def arm(number: int) -> None:
        rename, left = os.rename, [number]

        def failing(one: str, other: str) -> None:
            left[0] -= 1
            if left[0] <= 0:
                raise KilledError
            rename(one, other)

        monkeypatch.setattr(atomic_rename, "_renameat2", None)
        monkeypatch.setattr(os, "rename", failing)

    return arm


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_half_a_swap_is_put_right_with_the_old_or_the_new(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed_at: Callable[[int], None],
    make: Callable[[Path, str], None],
    number: int,
) -> None:
    temps, other = tmp_path / "temps", tmp_path / "other"
    temps.mkdir()
    make(temps / "one", "new")
    make(other, "old")
    old, new = list(look(other)), list(look(temps / "one"))
    killed_at(number)
    with pytest.raises(KilledError):
        exchange(str(temps / "one"), str(other))
    monkeypatch.undo()
    assert os.path.lexists(other) == (number != 2)
    assert repair_swaps(str(temps)) == ([str(other)] if number == 2 else [])
    assert list(look(other)) == (new if number == 3 else old)
    assert repair_swaps(str(temps)) == []


@pytest.mark.parametrize("make_newer", MAKE)
@pytest.mark.parametrize("make", MAKE)
def test_what_has_come_to_be_there_since_is_not_replaced(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed_at: Callable[[int], None],
    make: Callable[[Path, str], None],
    make_newer: Callable[[Path, str], None],
) -> None:
    temps, other = tmp_path / "temps", tmp_path / "other"
    temps.mkdir()
    make(temps / "one", "new")
    make(other, "old")
    killed_at(2)
    with pytest.raises(KilledError):
        exchange(str(temps / "one"), str(other))
    monkeypatch.undo()
    make_newer(other, "newer")
    before = list(look(other))
    assert repair_swaps(str(temps)) == []
    assert list(look(other)) == before


def test_a_swap_is_put_right_after_the_repository_has_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: Callable[[int], None]
) -> None:
    repo = tmp_path / "repo"
    (repo / "temps").mkdir(parents=True)
    (repo / "temps" / "one").write_text("new")
    (repo / "below").mkdir()
    (repo / "below" / "other").write_text("old")
    killed_at(2)
    with pytest.raises(KilledError):
        exchange(str(repo / "temps" / "one"), str(repo / "below" / "other"))
    monkeypatch.undo()
    (repo / "below").rmdir()  # git clean
    moved = tmp_path / "moved"
    repo.rename(moved)
    assert repair_swaps(str(moved / "temps")) == [str(moved / "below" / "other")]
    assert (moved / "below" / "other").read_text() == "old"


def test_without_hard_links_a_file_is_put_back_by_a_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.old").write_text("old")
    (tmp_path / "one.swap").write_text("../other")

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EPERM, "no hard links")

    monkeypatch.setattr(os, "link", refuse)
    other = tmp_path.parent / "other"
    assert repair_swaps(str(tmp_path)) == [str(other)]
    assert other.read_text() == "old"
    other.unlink()


@pytest.mark.parametrize("newer", [False, True], ids=["alone", "and it was replaced meanwhile"])
def test_if_it_cannot_be_told_what_came_out_all_is_as_it_was(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch, newer: bool
) -> None:
    path, new = tmp_path / "path", tmp_path / "new"
    path.write_text("seen")
    new.write_text("new")
    move = Move(str(new), str(path), stamp(path))
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


def test_a_copy_is_in_its_place_whatever_can_be_told_of_the_one_before(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a call that failed, nothing may be there: the exchange is the last that can fail."""
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
