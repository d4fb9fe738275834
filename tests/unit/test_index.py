"""WorkspaceIndex: what changed is found, what did not is not read again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from asynclive._index import WorkspaceIndex
from asynclive._outputs import OutputIndex

OLD_NS = 1_000_000_000_000_000_000


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
    """Stands for DVC: a DVC file names one output in each line; ``hidden`` are ignored."""

    hidden: set[str] = field(default_factory=set)
    loaded: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)

    def is_dvc_file(self, name: str) -> bool:
        return name.endswith(".dvc")

    def kept(
        self, directory: str, dirs: list[str], files: list[str]
    ) -> tuple[list[str], list[str]]:
        self.listed.append(directory)
        return (
            [name for name in dirs if name not in self.hidden],
            [name for name in files if name not in self.hidden],
        )

    def load(self, path: str) -> Sequence[Output] | None:
        self.loaded.append(path)
        stage = Stage(path)
        names = Path(path).read_text().split()
        return [Output(os.path.join(os.path.dirname(path), name), stage) for name in names] or None


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def index(tmp_path: Path) -> WorkspaceIndex[Output]:
    return WorkspaceIndex(str(tmp_path))


def settle(root: Path) -> None:
    """Make every file and directory older than the clock's tick."""
    for path in [root, *root.rglob("*")]:
        os.utime(path, ns=(OLD_NS, OLD_NS))


def track(root: Path, *names: str) -> None:
    for name in names:
        path = root / f"{name}.dvc"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.stem)


def owns(outputs: OutputIndex[Output], root: Path, name: str) -> bool:
    owner = outputs.owner(str(root / name))
    return owner is not None and owner.fs_path == str(root / name)


def test_all_declarations_below_the_root_are_found(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    track(tmp_path, "a", "sub/b", "sub/deeper/c")
    outputs = index.refresh(files)
    assert all(owns(outputs, tmp_path, name) for name in ("a", "sub/b", "sub/deeper/c"))


def test_nothing_is_read_or_listed_again_when_nothing_changed(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    track(tmp_path, "a", "sub/b")
    settle(tmp_path)
    index.refresh(files)
    files.loaded.clear()
    files.listed.clear()
    outputs = index.refresh(files)
    assert files.loaded == []
    assert files.listed == []
    assert owns(outputs, tmp_path, "sub/b")


def test_only_what_changed_is_read_again(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    track(tmp_path, "a", "b", "sub/c")
    settle(tmp_path)
    index.refresh(files)
    files.loaded.clear()
    (tmp_path / "a.dvc").write_text("renamed")
    track(tmp_path, "sub/new")
    (tmp_path / "b.dvc").unlink()
    outputs = index.refresh(files)
    assert sorted(files.loaded) == [str(tmp_path / "a.dvc"), str(tmp_path / "sub" / "new.dvc")]
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
    (tmp_path / "a.dvc").write_text("b")  # as long, and given the same mtime
    os.utime(tmp_path / "a.dvc", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    directory = tmp_path.stat()
    track(tmp_path, "new")
    os.utime(tmp_path, ns=(directory.st_atime_ns, directory.st_mtime_ns))
    outputs = index.refresh(files)
    assert owns(outputs, tmp_path, "b")
    assert owns(outputs, tmp_path, "new")


def test_a_rule_file_that_appears_changes_or_goes_applies_to_what_was_listed_before(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    track(tmp_path, "sub/a")
    settle(tmp_path)
    assert owns(index.refresh(files), tmp_path, "sub/a")
    (tmp_path / ".gitignore").write_text("a.dvc")
    files.hidden = {"a.dvc"}
    assert not owns(index.refresh(files), tmp_path, "sub/a")
    (tmp_path / ".gitignore").write_text("")
    files.hidden = set()
    assert owns(index.refresh(files), tmp_path, "sub/a")
    (tmp_path / ".gitignore").write_text("sub/")
    files.hidden = {"sub"}
    assert not owns(index.refresh(files), tmp_path, "sub/a")
    (tmp_path / ".gitignore").unlink()
    files.hidden = set()
    assert owns(index.refresh(files), tmp_path, "sub/a")


def test_a_tracked_directory_is_not_searched(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    track(tmp_path, "data", "data/inner")
    outputs = index.refresh(files)
    assert files.loaded == [str(tmp_path / "data.dvc")]
    assert owns(outputs, tmp_path, "data")


def test_what_we_wrote_is_known_without_reading_it_and_forgotten_on_request(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    settle(tmp_path)
    outputs = index.refresh(files)
    track(tmp_path, "a")
    dvc_file = str(tmp_path / "a.dvc")
    index.wrote(dvc_file, [Output(str(tmp_path / "a"), Stage(dvc_file))])
    assert owns(outputs, tmp_path, "a")
    assert owns(index.refresh(files), tmp_path, "a")
    assert files.loaded == []
    index.forget(dvc_file)
    assert owns(index.refresh(files), tmp_path, "a")
    assert files.loaded == [dvc_file]


def test_our_own_line_in_gitignore_is_no_change_of_the_rules(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".gitignore").write_text("/old\n")
    settle(tmp_path)
    index.refresh(files)
    track(tmp_path, "a")
    (tmp_path / ".gitignore").write_text("/old\n/a\n")
    dvc_file = str(tmp_path / "a.dvc")
    index.wrote(dvc_file, [Output(str(tmp_path / "a"), Stage(dvc_file))])
    files.listed.clear()
    index.refresh(files)
    assert str(tmp_path / "sub") not in files.listed


def test_an_error_on_reading_is_raised_and_the_file_looked_at_again(
    tmp_path: Path, index: WorkspaceIndex[Output], files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(tmp_path, "a")
    load = files.load
    with monkeypatch.context() as broken:
        broken.setattr(files, "load", lambda path: [][0])
        with pytest.raises(IndexError):
            index.refresh(files)
    assert files.load == load
    assert owns(index.refresh(files), tmp_path, "a")
