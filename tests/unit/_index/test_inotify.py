"""InotifyWatch: what the kernel says, on real files; and StatWatch, which says the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynclive._index.directory_watch import Change, StatWatch, UnwatchableError
from asynclive._index.inotify import InotifyWatch, open_inotify

pytestmark = pytest.mark.skipif(open_inotify() is None, reason="no inotify here")


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[InotifyWatch]:
    watch = InotifyWatch()
    try:
        watch.add(str(tmp_path))
    except UnwatchableError:
        pytest.skip("nothing is reported of this file system")
    watch.clear()
    yield watch
    watch.close()


def names(watch: InotifyWatch | StatWatch) -> set[tuple[str, bool]]:
    return {(change.name, change.is_dir) for change in watch.changes() or ()}


def test_every_way_a_name_changes_is_told_once(tmp_path: Path, watch: InotifyWatch) -> None:
    for name in ("gone", "written", "moved away"):
        (tmp_path / name).touch()
    (tmp_path / "dir gone").mkdir()
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.touch()
    watch.add(str(tmp_path))
    assert watch.changes() == []
    (tmp_path / "gone").unlink()
    for text in ("once", "twice"):
        (tmp_path / "written").write_text(text)
    (tmp_path / "moved away").rename(outside.with_suffix(".away"))
    (tmp_path / "dir gone").rmdir()
    (tmp_path / "dir made").mkdir()
    outside.rename(tmp_path / "moved here")
    assert watch.changes() == [
        Change(str(tmp_path), "gone", False, False),
        Change(str(tmp_path), "written", False, True),
        Change(str(tmp_path), "moved away", False, False),
        Change(str(tmp_path), "dir gone", True, False),
        Change(str(tmp_path), "dir made", True, False),
        Change(str(tmp_path), "moved here", False, False),
    ]
    assert watch.changes() == []


def test_a_directory_is_told_of_by_the_one_that_holds_it(
    tmp_path: Path, watch: InotifyWatch
) -> None:
    for name in ("moved", "removed"):
        (tmp_path / name).mkdir()
    watch.add(str(tmp_path))
    for name in ("moved", "removed"):
        watch.add(str(tmp_path / name))
    (tmp_path / "moved").rename(tmp_path / "there")
    (tmp_path / "removed").rmdir()
    assert names(watch) == {("moved", True), ("there", True), ("removed", True)}


def test_of_a_directory_that_nobody_holds_anything_may_be_true(
    tmp_path: Path, watch: InotifyWatch
) -> None:
    (tmp_path / "root").mkdir()
    watch.add(str(tmp_path / "root"))
    (tmp_path / "root").rename(tmp_path / "there")
    assert watch.changes() is None


def test_of_what_was_removed_nothing_is_told(tmp_path: Path, watch: InotifyWatch) -> None:
    (tmp_path / "sub").mkdir()
    watch.add(str(tmp_path))
    watch.add(str(tmp_path / "sub"))
    (tmp_path / "sub" / "before").touch()
    watch.remove(str(tmp_path / "sub"))
    watch.remove(str(tmp_path / "sub"))
    (tmp_path / "sub" / "after").touch()
    assert watch.changes() == []
    watch.clear()
    (tmp_path / "a").touch()
    assert watch.changes() == []


def test_what_is_no_directory_is_an_error_and_a_foreign_file_system_refused(
    tmp_path: Path, watch: InotifyWatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError):
        watch.add(str(tmp_path / "none"))
    with pytest.raises(NotADirectoryError):
        watch.add(str(tmp_path / "file"))
    with pytest.raises(UnwatchableError, match="file system"):
        watch.add("/proc")


def test_nothing_is_told_after_closing_and_the_descriptor_is_given_back(tmp_path: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    watch = InotifyWatch()
    watch.add(str(tmp_path))
    watch.close()
    watch.close()
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(UnwatchableError):
        watch.changes()


def test_a_forked_child_takes_nothing_from_the_queue(tmp_path: Path, watch: InotifyWatch) -> None:
    watch.add(str(tmp_path))
    (tmp_path / "a").touch()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            watch.changes()
        except UnwatchableError:
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert names(watch) == {("a", False)}


def test_looking_finds_what_the_kernel_tells_of(tmp_path: Path, watch: InotifyWatch) -> None:
    for name in ("gone.dvc", "written.dvc", "same.dvc"):
        (tmp_path / name).write_text("a")
    (tmp_path / "sub").mkdir()
    for path in (*tmp_path.iterdir(), tmp_path):
        os.utime(path, ns=(10**18, 10**18))
    looking = StatWatch(lambda name: name.endswith(".dvc"))
    for each in (watch, looking):
        each.add(str(tmp_path))
    (tmp_path / "gone.dvc").unlink()
    (tmp_path / "written.dvc").write_text("b")
    (tmp_path / "new.dvc").touch()
    (tmp_path / ".gitignore").touch()
    (tmp_path / "sub").rmdir()
    (tmp_path / "made").mkdir()
    assert names(looking) == names(watch)
    for path in (*tmp_path.iterdir(), tmp_path):
        os.utime(path, ns=(10**18, 10**18))
    looking.changes()
    assert names(looking) == set()
    looking.remove(str(tmp_path))
    (tmp_path / "new.dvc").unlink()
    assert names(looking) == set()
