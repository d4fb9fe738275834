"""The behaviour of InotifyWatch that the contract in ``test_directory_watch`` does not cover."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from watches import inotify_for

from asynclive._index.directory_watch import Change, UnwatchableError
from asynclive._index.inotify import InotifyWatch, open_inotify

pytestmark = pytest.mark.skipif(open_inotify() is None, reason="this system has no inotify")


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[InotifyWatch]:
    watch = inotify_for(tmp_path)
    yield watch
    watch.close()


def test_every_change_is_reported_once_and_in_order(tmp_path: Path, watch: InotifyWatch) -> None:
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


def test_anything_may_have_changed_after_a_directory_without_watched_parent_moved(
    tmp_path: Path, watch: InotifyWatch
) -> None:
    (tmp_path / "root").mkdir()
    watch.add(str(tmp_path / "root"))
    (tmp_path / "root").rename(tmp_path / "new name")
    assert watch.changes() is None


def test_a_file_system_that_others_change_is_refused(watch: InotifyWatch) -> None:
    with pytest.raises(UnwatchableError, match="file system"):
        watch.add("/proc")


def test_close_releases_the_descriptor_and_changes_is_an_error_after_it(tmp_path: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    watch = InotifyWatch()
    watch.add(str(tmp_path))
    watch.close()
    watch.close()
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(UnwatchableError):
        watch.changes()


def test_a_forked_child_takes_no_events_from_the_queue(tmp_path: Path, watch: InotifyWatch) -> None:
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
    changes = watch.changes()
    assert changes is not None
    assert {(change.name, change.is_dir) for change in changes} == {("a", False)}
