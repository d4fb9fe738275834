"""The contract of a Watch, which every implementation must meet, on real files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest
from watches import inotify_for, settle

from asynclive._index.directory_watch import StatWatch, Watch


def reported(watch: Watch) -> set[tuple[str, str, bool]]:
    """Return the directory, the name and the kind of each reported change."""
    changes = watch.changes()
    assert changes is not None
    return {(change.directory, change.name, change.is_dir) for change in changes}


class WatchTests(ABC):
    """The tests of one implementation: a subclass opens it."""

    @abstractmethod
    def open_watch(self, directory: Path) -> Watch: ...

    @pytest.fixture
    def watch(self, tmp_path: Path) -> Iterator[Watch]:
        watch = self.open_watch(tmp_path)
        yield watch
        watch.close()

    def test_nothing_is_reported_without_a_change(self, tmp_path: Path, watch: Watch) -> None:
        (tmp_path / "a.dvc").touch()
        (tmp_path / "sub").mkdir()
        settle(tmp_path)
        watch.add(str(tmp_path))
        for _ in range(2):
            assert reported(watch) == set()

    def test_every_kind_of_change_is_reported(self, tmp_path: Path, watch: Watch) -> None:
        root = tmp_path / "root"
        (root / "removed dir").mkdir(parents=True)
        for name in ("removed.dvc", "written.dvc", "moved away.dvc", "same.dvc"):
            (root / name).write_text("a")
        (tmp_path / "outside.dvc").touch()
        settle(tmp_path)
        watch.add(str(root))
        (root / "removed.dvc").unlink()
        (root / "written.dvc").write_text("b")
        (root / "moved away.dvc").rename(tmp_path / "elsewhere.dvc")
        (root / "removed dir").rmdir()
        (root / "new dir").mkdir()
        (root / "new.dvc").touch()
        (root / ".gitignore").touch()
        (root / ".dvcignore").touch()
        (tmp_path / "outside.dvc").rename(root / "moved here.dvc")
        assert reported(watch) == {
            (str(root), "removed.dvc", False),
            (str(root), "written.dvc", False),
            (str(root), "moved away.dvc", False),
            (str(root), "removed dir", True),
            (str(root), "new dir", True),
            (str(root), "new.dvc", False),
            (str(root), ".gitignore", False),
            (str(root), ".dvcignore", False),
            (str(root), "moved here.dvc", False),
        }

    def test_a_reported_change_is_not_reported_again(self, tmp_path: Path, watch: Watch) -> None:
        settle(tmp_path)
        watch.add(str(tmp_path))
        (tmp_path / "new.dvc").touch()
        (tmp_path / "sub").mkdir()
        assert reported(watch) == {
            (str(tmp_path), "new.dvc", False),
            (str(tmp_path), "sub", True),
        }
        settle(tmp_path)
        watch.changes()  # a change within the tick of the clock may be reported twice
        assert reported(watch) == set()

    def test_a_write_that_keeps_size_and_mtime_is_reported(
        self, tmp_path: Path, watch: Watch
    ) -> None:
        path = tmp_path / "a.dvc"
        path.write_text("a")
        watch.add(str(tmp_path))
        before = path.stat()
        path.write_text("b")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert reported(watch) == {(str(tmp_path), "a.dvc", False)}

    def test_the_parent_reports_a_watched_directory_that_is_moved_or_removed(
        self, tmp_path: Path, watch: Watch
    ) -> None:
        for name in ("moved", "removed"):
            (tmp_path / name).mkdir()
        settle(tmp_path)
        watch.add(str(tmp_path))
        for name in ("moved", "removed"):
            watch.add(str(tmp_path / name))
        (tmp_path / "moved").rename(tmp_path / "new name")
        (tmp_path / "removed").rmdir()
        assert reported(watch) == {
            (str(tmp_path), "moved", True),
            (str(tmp_path), "new name", True),
            (str(tmp_path), "removed", True),
        }

    def test_no_change_is_reported_of_a_directory_that_is_no_longer_watched(
        self, tmp_path: Path, watch: Watch
    ) -> None:
        (tmp_path / "sub").mkdir()
        settle(tmp_path)
        watch.add(str(tmp_path))
        watch.add(str(tmp_path / "sub"))
        (tmp_path / "sub" / "before.dvc").touch()
        watch.remove(str(tmp_path / "sub"))
        watch.remove(str(tmp_path / "sub"))
        (tmp_path / "sub" / "after.dvc").touch()
        assert reported(watch) == set()

    def test_after_clear_no_change_is_reported_until_a_directory_is_added(
        self, tmp_path: Path, watch: Watch
    ) -> None:
        settle(tmp_path)
        watch.add(str(tmp_path))
        (tmp_path / "before.dvc").touch()
        watch.clear()
        (tmp_path / "after.dvc").touch()
        assert reported(watch) == set()
        settle(tmp_path)
        watch.add(str(tmp_path))
        (tmp_path / "new.dvc").touch()
        assert reported(watch) == {(str(tmp_path), "new.dvc", False)}

    def test_adding_a_missing_directory_or_a_file_is_an_error(
        self, tmp_path: Path, watch: Watch
    ) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(FileNotFoundError):
            watch.add(str(tmp_path / "missing"))
        with pytest.raises(NotADirectoryError):
            watch.add(str(tmp_path / "file"))
        assert reported(watch) == set()

    def test_it_can_be_closed_twice(self, tmp_path: Path, watch: Watch) -> None:
        watch.add(str(tmp_path))
        watch.close()
        watch.close()


class TestStatWatch(WatchTests):
    def open_watch(self, directory: Path) -> Watch:
        return StatWatch(lambda name: name.endswith(".dvc"))


class TestInotifyWatch(WatchTests):
    def open_watch(self, directory: Path) -> Watch:
        return inotify_for(directory)
