"""Paths that cannot be renamed get other bytes, and the old ones back after a kill."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from path_kinds import look

from asynclive._workspace.replace_in_place import (
    copy_path,
    exchange_in_place,
    make_dir_beside,
    repair_replacements,
    replace_file,
)
from asynclive._workspace.temp_session import TempSession


@pytest.fixture
def temps(tmp_path: Path) -> Path:
    (tmp_path / "disk/temps").mkdir(parents=True)
    return tmp_path / "disk/temps"


def make_file(path: Path, text: str) -> None:
    path.write_text(text * 10)
    os.utime(path, (1, 1))


def make_tree(path: Path, text: str) -> None:
    (path / "sub" / text).mkdir(parents=True)
    for name in ("a", f"sub/{text}/b"):
        make_file(path / name, text)
    os.symlink("a", path / "link")
    (path / "sub").chmod(0o500)


@contextmanager
def snapshots(disk: Path, to: Path) -> Iterator[list[Path]]:
    """Copy the directory before each system call that changes it, as a kill would leave it."""
    taken: list[Path] = []

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            taken.append(to / str(len(taken)))
            with pytest.MonkeyPatch.context() as undone:
                for name, unwatched in reals.items():
                    undone.setattr(os, name, unwatched)
                shutil.copytree(disk, taken[-1], symlinks=True)
            return real(*args, **kwargs)

        return call

    names = ("open", "mkdir", "unlink", "rmdir", "rename", "write", "copy_file_range", "ftruncate")
    reals = {name: getattr(os, name) for name in names if hasattr(os, name)}
    with pytest.MonkeyPatch.context() as patch:
        for name, real in reals.items():
            patch.setattr(os, name, watched(real))
        yield taken


@pytest.mark.parametrize("make", [make_file, make_tree])
def test_bytes_are_exchanged_and_a_kill_leaves_the_old_or_the_new_ones(
    tmp_path: Path, temps: Path, make: Callable[[Path, str], None]
) -> None:
    one, other = temps / "0", tmp_path / "disk/other"
    make(one, "new")
    make(other, "old")
    new, old = list(look(one)), list(look(other))
    with snapshots(tmp_path / "disk", tmp_path) as taken:
        exchange_in_place(str(one), str(other))
    assert [line[0] for line in look(other)] == [line[0] for line in new]
    assert read_all(other) == dict.fromkeys(files_of(other), "new" * 10)
    assert read_all(one) == dict.fromkeys(files_of(one), "old" * 10)
    assert os.listdir(temps) == ["0"]
    assert len(taken) > 8
    for snapshot in taken:
        repair_replacements(str(snapshot / "temps"))
        texts = set(read_all(snapshot / "other").values())
        assert texts in ({"old" * 10}, {"new" * 10}), snapshot.name
        assert [line[0] for line in look(snapshot / "other")] in (
            [line[0] for line in old],
            [line[0] for line in new],
        )


def files_of(path: Path) -> list[Path]:
    return [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]


def read_all(path: Path) -> dict[Path, str]:
    return {one: one.read_text() for one in files_of(path)}


@pytest.mark.parametrize("make", [make_file, make_tree])
def test_an_exchange_that_fails_leaves_both_as_they_were(
    tmp_path: Path,
    temps: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path, str], None],
) -> None:
    one, other = temps / "0", tmp_path / "disk/other"
    make(one, "new")
    make(other, "old")
    before = list(read_all(tmp_path / "disk").values())
    real, calls = os.utime, [0]

    def fail_later(*args: Any, **kwargs: Any) -> None:
        calls[0] += 1
        if calls[0] == (2 if make is make_file else 7):
            raise OSError(errno.EIO, "Input/output error")
        real(*args, **kwargs)

    monkeypatch.setattr(os, "utime", fail_later)
    if make is make_file:  # its bytes are replaced without a change of its times
        monkeypatch.setattr(os, "ftruncate", _fail_once(os.ftruncate))
    with pytest.raises(OSError, match="Input/output"):
        exchange_in_place(str(one), str(other))
    assert sorted(read_all(tmp_path / "disk").values()) == sorted(before)
    assert os.listdir(temps) == ["0"]


def _fail_once(real: Callable[[int, int], None]) -> Callable[[int, int], None]:
    failed: list[bool] = []

    def call(fd: int, length: int) -> None:
        if not failed:
            failed.append(True)
            raise OSError(errno.EIO, "Input/output error")
        real(fd, length)

    return call


def test_a_file_and_a_directory_are_not_exchanged(tmp_path: Path, temps: Path) -> None:
    make_file(temps / "0", "new")
    make_tree(tmp_path / "disk/other", "old")
    with pytest.raises(OSError, match="busy"):
        exchange_in_place(str(temps / "0"), str(tmp_path / "disk/other"))
    assert os.listdir(temps) == ["0"]


@pytest.mark.parametrize(
    ("number", "is_there"), [(errno.EXDEV, True), (errno.EXDEV, False), (errno.EBUSY, True)]
)
def test_a_file_is_replaced_where_a_rename_is_refused(
    tmp_path: Path, temps: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_there: bool
) -> None:
    path = tmp_path / "disk/dvc.yaml"
    if is_there:
        path.write_text("a much longer old text")
    (temps / "0").write_text("new")
    real = os.replace

    def refuse(source: str, destination: str) -> None:
        if number == errno.EBUSY or os.path.dirname(source) == str(temps):
            raise OSError(number, os.strerror(number))
        real(source, destination)

    monkeypatch.setattr(os, "replace", refuse)
    replace_file(str(temps / "0"), str(path))
    assert path.read_text() == "new"
    assert [name for name in os.listdir(temps) if not name.endswith(".outside")] == []
    assert sorted(os.listdir(tmp_path / "disk")) == ["dvc.yaml", "temps"]


def test_a_directory_next_to_a_path_is_removed_with_its_session(tmp_path: Path) -> None:
    for name in ("cache", "tmp", "volume"):
        (tmp_path / name).mkdir()
    session = TempSession.start(str(tmp_path / "cache"), str(tmp_path / "tmp"))
    directory = make_dir_beside(str(tmp_path / "volume/model"), session.workspace_tmp)
    make_tree(Path(directory) / "0", "new")
    (tmp_path / "volume/.asynclive.mine.tmp").touch()
    session.close()
    assert os.listdir(tmp_path / "volume") == [".asynclive.mine.tmp"]


def test_a_copy_has_the_modes_and_times_of_its_source(tmp_path: Path) -> None:
    make_tree(tmp_path / "one", "text")
    copy_path(str(tmp_path / "one"), str(tmp_path / "other"))
    for path in sorted((tmp_path / "one").rglob("*")):
        copy = tmp_path / "other" / path.relative_to(tmp_path / "one")
        found, copied = path.lstat(), copy.lstat()
        assert found.st_mode == copied.st_mode
        if not path.is_symlink():
            assert found.st_mtime_ns == copied.st_mtime_ns
