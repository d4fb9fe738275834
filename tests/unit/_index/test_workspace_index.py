"""WorkspaceIndex finds every change, and reads no unchanged file again."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watches import inotify_for, settle

from asynclive._index.directory_watch import Change, StatWatch, UnwatchableError, Watch
from asynclive._index.tracked_outputs import OutputIndex
from asynclive._index.workspace_index import WorkspaceIndex


@dataclass
class Stage:
    path: str
    cmd: str | None = None

    @property
    def addressing(self) -> str:
        return self.path


@dataclass
class Output:
    fs_path: str
    stage: Stage


@dataclass
class Files:
    """Replaces DVC: a DVC file names one output a line, and .gitignore lists hidden names."""

    loaded: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    reloads: int = 0
    known_lines: dict[str, set[str]] = field(default_factory=dict)

    def reload(self) -> None:
        self.reloads += 1
        self.known_lines.clear()

    def outside_rules_changed(self) -> bool:
        return False

    def is_dvc_file(self, name: str) -> bool:
        return name.endswith(".dvc")

    def filter_visible(
        self, directory: str, dirs: list[str], files: list[str]
    ) -> tuple[list[str], list[str]]:
        self.listed.append(directory)
        hidden = self._hidden(directory)
        return (
            [name for name in dirs if name not in hidden],
            [name for name in files if name not in hidden],
        )

    def is_hidden(self, path: str, isdir: bool) -> bool:
        self.asked.append(path)
        directory, name = os.path.split(path)
        return name in self._hidden(directory)

    def take_changed_names(self, directory: str) -> set[str] | None:
        """A line that begins with a slash matches only that name."""
        before, now = self.known_lines.get(directory, set()), self._lines(directory)
        self.known_lines[directory] = now
        changed = before ^ now
        return {line[1:] for line in changed} if all(line[0] == "/" for line in changed) else None

    def load(self, path: str) -> Sequence[Output] | None:
        self.loaded.append(path)
        stage = Stage(path)
        names = Path(path).read_text().split()
        return [
            Output(os.path.normpath(os.path.join(os.path.dirname(path), name)), stage)
            for name in names
        ] or None

    def clear(self) -> None:
        for calls in (self.loaded, self.listed, self.asked):
            calls.clear()

    def _hidden(self, directory: str) -> set[str]:
        self.known_lines.setdefault(directory, self._lines(directory))
        return {line.lstrip("/") for line in self._lines(directory)}

    def _lines(self, directory: str) -> set[str]:
        rules = Path(directory, ".gitignore")
        return set(rules.read_text().split()) if rules.exists() else set()


class CountingWatch:
    """Counts the directories that are added to a watch."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.added: list[str] = []

    def add(self, directory: str) -> None:
        self.added.append(directory)
        self._watch.add(directory)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watch, name)


class LimitedWatch:
    """A watch that can add only so many directories, and reports no changes."""

    closed = False

    def __init__(self, watched: int = 0) -> None:
        self.remaining = watched

    def add(self, directory: str) -> None:
        if self.remaining == 0:
            raise UnwatchableError
        self.remaining -= 1

    def remove(self, directory: str) -> None:
        pass

    def changes(self) -> list[Change] | None:
        return []

    def clear(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture(params=["inotify", "by_stamps"])
def watch(request: pytest.FixtureRequest, files: Files) -> Watch:
    if request.param == "by_stamps":
        return StatWatch(files.is_dvc_file)
    return inotify_for(request.getfixturevalue("tmp_path"))


@pytest.fixture
def index(tmp_path: Path, watch: Watch, files: Files) -> Iterator[WorkspaceIndex[Output]]:
    index: WorkspaceIndex[Output] = WorkspaceIndex(
        str(tmp_path), watch, StatWatch(files.is_dvc_file)
    )
    yield index
    index.close()


def track(root: Path, *names: str) -> None:
    for name in names:
        path = root / f"{name}.dvc"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.stem)


def owns(outputs: OutputIndex[Output], root: Path, name: str) -> bool:
    owner = outputs.owner(str(root / name))
    return owner is not None and owner.fs_path == str(root / name)


def test_all_dvc_files_below_the_root_are_found(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    track(tmp_path, "a", "sub/b", "sub/deeper/c")
    outputs = index.refresh(files)
    assert all(owns(outputs, tmp_path, name) for name in ("a", "sub/b", "sub/deeper/c"))


def test_without_a_change_no_file_is_read_and_no_directory_is_listed(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    track(tmp_path, "a", "sub/b")
    settle(tmp_path)
    index.refresh(files)
    files.clear()
    outputs = index.refresh(files)
    assert files.loaded == files.listed == files.asked == []
    assert files.reloads == 1
    assert owns(outputs, tmp_path, "sub/b")


def test_only_changed_files_are_read_again(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    track(tmp_path, "a", "b", "sub/c")
    settle(tmp_path)
    index.refresh(files)
    files.clear()
    (tmp_path / "a.dvc").write_text("renamed")
    track(tmp_path, "sub/new")
    (tmp_path / "b.dvc").unlink()
    outputs = index.refresh(files)
    assert sorted(files.loaded) == [str(tmp_path / "a.dvc"), str(tmp_path / "sub" / "new.dvc")]
    assert files.listed == []
    assert owns(outputs, tmp_path, "renamed")
    assert owns(outputs, tmp_path, "sub/new")
    assert outputs.owner(str(tmp_path / "a")) is None
    assert outputs.owner(str(tmp_path / "b")) is None
    assert owns(outputs, tmp_path, "sub/c")


def test_a_change_within_the_tick_of_the_clock_is_found(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    track(tmp_path, "a")
    index.refresh(files)
    stamp = (tmp_path / "a.dvc").stat()
    (tmp_path / "a.dvc").write_text("b")  # of the same length, and then given the same mtime
    os.utime(tmp_path / "a.dvc", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    directory = tmp_path.stat()
    track(tmp_path, "new")
    os.utime(tmp_path, ns=(directory.st_atime_ns, directory.st_mtime_ns))
    outputs = index.refresh(files)
    assert owns(outputs, tmp_path, "b")
    assert owns(outputs, tmp_path, "new")


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_rule_that_is_added_or_removed_applies_to_names_listed_before(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files, slash: str
) -> None:
    track(tmp_path, "sub/a")
    settle(tmp_path)
    assert owns(index.refresh(files), tmp_path, "sub/a")
    (tmp_path / "sub" / ".gitignore").write_text(f"{slash}a.dvc")
    assert not owns(index.refresh(files), tmp_path, "sub/a")
    (tmp_path / "sub" / ".gitignore").write_text("")
    assert owns(index.refresh(files), tmp_path, "sub/a")
    (tmp_path / ".gitignore").write_text(f"{slash}sub")
    assert not owns(index.refresh(files), tmp_path, "sub/a")
    (tmp_path / ".gitignore").unlink()
    assert owns(index.refresh(files), tmp_path, "sub/a")


@pytest.mark.parametrize("slash", ["", "/"])
def test_only_a_rule_for_more_than_one_name_causes_a_full_scan(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files, slash: str
) -> None:
    track(tmp_path, "a", "sub/b")
    index.refresh(files)
    (tmp_path / ".gitignore").write_text(f"{slash}a.dvc")
    index.refresh(files)
    assert files.reloads == (1 if slash else 2)


@pytest.mark.parametrize("change", ["added", "changed", "removed", "removed with its directory"])
def test_a_change_of_dvcignore_causes_a_full_scan(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files, change: str
) -> None:
    track(tmp_path, "sub/a")
    rules = tmp_path / "sub" / ".dvcignore"
    if change != "added":
        rules.write_text("")
    settle(tmp_path)
    index.refresh(files)
    if change == "removed":
        rules.unlink()
    elif change == "removed with its directory":
        shutil.rmtree(tmp_path / "sub")
    else:
        rules.write_text("b.dvc")
    index.refresh(files)
    assert files.reloads == 2


def test_a_directory_that_becomes_a_repository_causes_a_full_scan(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    track(tmp_path, "sub/a")
    settle(tmp_path)
    index.refresh(files)
    (tmp_path / "sub" / ".dvc").mkdir()
    index.refresh(files)
    assert files.reloads == 2


def test_a_hidden_directory_that_stops_being_a_repository_causes_a_full_scan(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    (tmp_path / ".gitignore").write_text("/sub")
    (tmp_path / "sub" / ".dvc").mkdir(parents=True)
    settle(tmp_path)
    index.refresh(files)
    index.refresh(files)
    assert files.reloads == 1
    (tmp_path / "sub" / ".dvc").rmdir()
    index.refresh(files)
    assert files.reloads == 2


def test_new_directories_are_scanned_and_removed_ones_are_forgotten(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    track(outside, "tree/deeper/c")
    settle(tmp_path)
    index.refresh(files)
    track(tmp_path, "made/below/a")
    (outside / "tree").rename(tmp_path / "moved")
    outputs = index.refresh(files)
    assert owns(outputs, tmp_path, "made/below/a")
    assert owns(outputs, tmp_path, "moved/deeper/c")
    track(tmp_path, "made/below/later/b")
    shutil.rmtree(tmp_path / "moved")
    outputs = index.refresh(files)
    assert owns(outputs, tmp_path, "made/below/later/b")
    assert not owns(outputs, tmp_path, "moved/deeper/c")
    (tmp_path / "made").rename(tmp_path / "again")
    outputs = index.refresh(files)
    assert not owns(outputs, tmp_path, "made/below/a")
    assert owns(outputs, tmp_path, "again/below/a")
    track(tmp_path, "again/below/d")
    assert owns(index.refresh(files), tmp_path, "again/below/d")


def test_directories_that_swap_their_names_are_not_confused(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    track(tmp_path, "one/a", "two/b")
    settle(tmp_path)
    index.refresh(files)
    (tmp_path / "one").rename(tmp_path / "three")
    (tmp_path / "two").rename(tmp_path / "one")
    (tmp_path / "three").rename(tmp_path / "two")
    outputs = index.refresh(files)
    assert owns(outputs, tmp_path, "one/b")
    assert owns(outputs, tmp_path, "two/a")
    track(tmp_path, "one/c")
    outputs = index.refresh(files)
    assert owns(outputs, tmp_path, "one/c")
    assert not owns(outputs, tmp_path, "two/c")


def test_a_tracked_directory_is_not_scanned_while_it_is_tracked(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    track(tmp_path, "data", "data/inner")
    outputs = index.refresh(files)
    assert files.loaded == [str(tmp_path / "data.dvc")]
    assert owns(outputs, tmp_path, "data")
    (tmp_path / "data.dvc").unlink()
    outputs = index.refresh(files)
    assert not owns(outputs, tmp_path, "data")
    assert owns(outputs, tmp_path, "data/inner")
    track(tmp_path, "data")
    outputs = index.refresh(files)
    assert owns(outputs, tmp_path, "data")
    assert not owns(outputs, tmp_path, "data/inner")


def test_a_dvc_file_that_vanished_before_a_full_scan_hides_no_directory(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    track(tmp_path, "data", "data/inner")
    index.refresh(files)
    (tmp_path / "data.dvc").unlink()
    (tmp_path / ".dvcignore").write_text("")
    assert owns(index.refresh(files), tmp_path, "data/inner")


def test_a_dvc_file_inside_its_own_output_is_not_forgotten(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    track(tmp_path, "data/inner")
    (tmp_path / "data" / "inner.dvc").write_text("../data")
    for _ in range(2):
        assert owns(index.refresh(files), tmp_path, "data")
    (tmp_path / "data" / "inner.dvc").unlink()
    assert not owns(index.refresh(files), tmp_path, "data")


def test_a_dvc_file_that_we_wrote_is_only_read_on_request(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    settle(tmp_path)
    outputs = index.refresh(files)
    write_as_we_do(tmp_path, index, "a")
    assert owns(outputs, tmp_path, "a")
    assert owns(index.refresh(files), tmp_path, "a")
    assert files.loaded == []
    (tmp_path / "a.dvc").write_text("b")
    index.reread(str(tmp_path / "a.dvc"), files)
    assert owns(outputs, tmp_path, "b")
    assert not owns(outputs, tmp_path, "a")
    (tmp_path / "a.dvc").unlink()
    index.reread(str(tmp_path / "a.dvc"), files)
    assert not owns(outputs, tmp_path, "b")


def write_as_we_do(root: Path, index: WorkspaceIndex[Output], name: str) -> None:
    dvc_file, temp = root / f"{name}.dvc", root.parent / f"{root.name}.tmp"
    temp.write_text(dvc_file.stem)
    temp.replace(dvc_file)
    index.record_written(str(dvc_file), [Output(str(root / name), Stage(str(dvc_file)))])


def test_a_directory_that_we_track_is_no_longer_scanned(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    (tmp_path / "data" / "deeper").mkdir(parents=True)
    settle(tmp_path)
    outputs = index.refresh(files)
    write_as_we_do(tmp_path, index, "data")
    files.clear()
    track(tmp_path, "data/deeper/b")  # not allowed by DVC, and ignored
    index.refresh(files)
    assert files.loaded == files.listed == []
    assert owns(outputs, tmp_path, "data")


def test_our_own_line_in_gitignore_causes_a_check_of_its_name_only(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    for name in ("data", "sub"):
        (tmp_path / name).mkdir()
    (tmp_path / ".gitignore").write_text("/old\n")
    settle(tmp_path)
    index.refresh(files)
    files.clear()
    with (tmp_path / ".gitignore").open("a") as rules:
        rules.write("/data\n")
    write_as_we_do(tmp_path, index, "data")
    index.refresh(files)
    assert files.listed == []
    assert files.asked == [str(tmp_path / "data")]
    assert files.reloads == 1


@pytest.mark.parametrize("tracked", [2, 50])
def test_the_work_for_one_artifact_does_not_grow_with_the_number_of_tracked_ones(
    tmp_path: Path, files: Files, tracked: int
) -> None:
    watch = CountingWatch(inotify_for(tmp_path))
    index: WorkspaceIndex[Output] = WorkspaceIndex(str(tmp_path), watch)
    for number in range(tracked):
        track(tmp_path, f"{number}", f"sub{number}/a")
    index.refresh(files)
    files.clear()
    watch.added.clear()
    stats: list[str] = []
    with pytest.MonkeyPatch.context() as counting:
        for call in ("stat", "lstat", "scandir"):
            real = getattr(os, call)
            counting.setattr(os, call, lambda path, real=real: (stats.append(path), real(path))[1])
        for name in ("new", "0"):
            (tmp_path / name).write_text("an untracked file")
            write_as_we_do(tmp_path, index, name)
            index.refresh(files)
    index.close()
    assert files.loaded == files.listed == files.asked == watch.added == []
    assert len(stats) < 40
    assert {os.path.basename(path) for path in stats} <= {"new.dvc", "0.dvc"}


def test_an_error_on_reading_is_raised_and_the_file_is_read_again(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    index.refresh(files)
    track(tmp_path, "a")
    (tmp_path / "a.dvc").write_bytes(b"\xff")
    for _ in range(2):
        with pytest.raises(UnicodeDecodeError):
            index.refresh(files)
    track(tmp_path, "a")
    assert owns(index.refresh(files), tmp_path, "a")


def test_a_symlink_is_read_again_when_its_target_changes(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    elsewhere.write_text("a")
    (tmp_path / "soft.dvc").symlink_to(elsewhere)
    settle(tmp_path)
    assert owns(index.refresh(files), tmp_path, "a")
    elsewhere.write_text("other")
    assert owns(index.refresh(files), tmp_path, "other")
    elsewhere.unlink()
    assert not owns(index.refresh(files), tmp_path, "other")
    elsewhere.write_text("more")
    assert owns(index.refresh(files), tmp_path, "more")


def test_if_a_watch_cannot_watch_the_workspace_the_next_one_is_used(
    tmp_path: Path, files: Files
) -> None:
    track(tmp_path, "a", "sub/b")
    limited = [LimitedWatch(), LimitedWatch(watched=1)]
    index: WorkspaceIndex[Output] = WorkspaceIndex(
        str(tmp_path), *limited, StatWatch(files.is_dvc_file)
    )
    assert owns(index.refresh(files), tmp_path, "sub/b")
    assert all(watch.closed for watch in limited)
    track(tmp_path, "sub/c")
    assert owns(index.refresh(files), tmp_path, "sub/c")


def test_a_watch_that_fails_later_is_replaced(tmp_path: Path, files: Files) -> None:
    limited = LimitedWatch(watched=1)
    index: WorkspaceIndex[Output] = WorkspaceIndex(
        str(tmp_path), limited, StatWatch(files.is_dvc_file)
    )
    index.refresh(files)
    track(tmp_path, "sub/a")
    limited.changes = lambda: [Change(str(tmp_path), "sub", True, False)]  # type: ignore[method-assign]
    assert owns(index.refresh(files), tmp_path, "sub/a")
    assert limited.closed


def test_more_changes_than_the_kernel_queues_are_all_found(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    index.refresh(files)
    queue = Path("/proc/sys/fs/inotify/max_queued_events")
    limit = int(queue.read_text()) if queue.exists() else 0
    if limit > 20_000:
        pytest.skip(f"the queue holds {limit} events, too many to fill it in a test")
    track(tmp_path, "a")
    # Two events each. They alternate, because the kernel merges equal events in a row.
    for _ in range(limit // 2 + 1):
        os.rename(tmp_path / "a.dvc", tmp_path / "b.dvc")
        os.rename(tmp_path / "b.dvc", tmp_path / "a.dvc")
    track(tmp_path, "last", "sub/last")
    outputs = index.refresh(files)
    assert all(owns(outputs, tmp_path, name) for name in ("a", "last", "sub/last"))


def change_something(root: Path, change: tuple[str, str, str, str]) -> None:
    kind, where, name, text = change
    directory = root / where
    try:
        if kind == "track":
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"{name}.dvc").write_text(text)
        elif kind == "replace":
            (root.parent / "temp").write_text(text)
            (root.parent / "temp").replace(directory / f"{name}.dvc")
        elif kind == "untrack":
            (directory / f"{name}.dvc").unlink()
        elif kind == "ignore":
            (directory / ".gitignore").write_text(f"/{name}\n{name}.dvc\n" if text else f"/{name}")
        elif kind == "rename":
            directory.rename(root / name)
        else:
            shutil.rmtree(directory / name)
    except OSError:  # no such file or directory at the moment
        pass


places = st.sampled_from(["", "a", "b", "a/b"])
changes = st.tuples(
    st.sampled_from(["track", "track", "replace", "untrack", "ignore", "rename", "remove"]),
    places,
    st.sampled_from(["a", "b"]),
    st.sampled_from(["a", "b", "a b", ""]),
)


@pytest.mark.parametrize("kind", ["inotify", "by_stamps"])
@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(changes, min_size=1, max_size=4), min_size=3, max_size=8))
def test_after_any_changes_the_index_equals_a_new_one(
    kind: str, groups: list[list[tuple[str, str, str, str]]]
) -> None:
    files = Files()
    with tempfile.TemporaryDirectory() as base:
        root = Path(base, "root")
        root.mkdir()
        watch = inotify_for(root) if kind == "inotify" else StatWatch(files.is_dvc_file)
        index: WorkspaceIndex[Output] = WorkspaceIndex(str(root), watch)
        for group in groups:
            for change in group:
                change_something(root, change)
            anew: WorkspaceIndex[Output] = WorkspaceIndex(str(root), StatWatch(files.is_dvc_file))
            expected = anew.refresh(Files())
            found = index.refresh(files)
            for path in [str(root / place) for place in PATHS]:
                ours, theirs = found.owner(path), expected.owner(path)
                assert (ours and ours.fs_path) == (theirs and theirs.fs_path), path
        index.close()


PATHS = ["/".join(parts) for depth in (1, 2, 3) for parts in product("ab", repeat=depth)]
