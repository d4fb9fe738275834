"""Two paths are exchanged, and restored after a kill."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from path_kinds import MAKE, look

from asynclive._fs import atomic_rename
from asynclive._fs.atomic_rename import can_rename_between, exchange, repair_swaps


@pytest.mark.parametrize("make_one", MAKE)
@pytest.mark.parametrize("make_other", MAKE)
def test_two_paths_of_any_kind_are_exchanged(
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
def test_if_one_path_is_missing_it_is_an_error_and_the_other_stays(
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


def test_any_other_errno_is_an_error_that_names_the_destination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> int:
        atomic_rename.ctypes.set_errno(errno.EROFS)
        return -1

    monkeypatch.setattr(atomic_rename, "_renameat2", refuse)
    with pytest.raises(OSError, match="Read-only file system") as caught:
        exchange("/one", "/other")
    assert (caught.value.errno, caught.value.filename) == (errno.EROFS, "/other")


# --- Repair ---------------------------------------------------------------------------------


class KilledError(BaseException):
    """Simulates a kill: the code cannot undo anything."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that makes the n-th rename and all later ones fail."""

    def arm(number: int) -> None:
        rename, remaining = os.rename, [number]

        def failing(one: str, other: str) -> None:
            remaining[0] -= 1
            if remaining[0] <= 0:
                raise KilledError
            rename(one, other)

        monkeypatch.setattr(atomic_rename, "_renameat2", None)
        monkeypatch.setattr(os, "rename", failing)

    return arm


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_after_a_kill_during_a_swap_the_old_or_the_new_file_is_restored(
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
def test_repair_does_not_replace_a_newer_file(
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


def test_a_swap_is_repaired_after_the_repository_was_moved(
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


def test_without_hard_links_a_file_is_restored_by_a_rename(
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


# --- Reach ----------------------------------------------------------------------------------


def test_whether_a_rename_is_possible_is_told_by_device_or_by_trying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    assert can_rename_between(str(tmp_path), str(tmp_path / "other"))

    def refuse(one: str, other: str) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "rename", refuse)
    assert not can_rename_between(str(tmp_path), str(tmp_path / "other"))
    assert os.listdir(tmp_path) == ["other"]
