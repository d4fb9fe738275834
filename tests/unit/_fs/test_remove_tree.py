"""Files and directories that asynclive made are removed, write-protected or not."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from path_kinds import MAKE, make_dir

from asynclive._fs.remove_tree import remove_tree


@pytest.mark.parametrize("make", MAKE)
def test_a_path_of_any_kind_is_removed(tmp_path: Path, make: Callable[[Path, str], None]) -> None:
    make(tmp_path / "data", "text")
    remove_tree(str(tmp_path / "data"))
    remove_tree(str(tmp_path / "data"))
    assert os.listdir(tmp_path) == []


def test_a_link_is_removed_but_not_its_target(tmp_path: Path) -> None:
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
    # As if another user owned it.
    def refuse(*args: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    protected_tree(tmp_path / "data", mode)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "chmod", refuse)
            with pytest.raises(PermissionError):
                remove_tree(str(tmp_path / "data"))
    finally:
        make_removable(tmp_path / "data")


def make_removable(path: Path) -> None:
    """Otherwise pytest could not remove the tree."""
    for name in ("", "a", "a/b"):
        if (path / name).exists():
            (path / name).chmod(0o700)


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_removing_a_link_keeps_the_mode_of_its_target(
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
        """Fail as for any user but root."""
        if not tree.stat().st_mode & stat.S_IWUSR:
            raise PermissionError(errno.EACCES, "write-protected", path)
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink_from_writable)
    remove_tree(str(tree))
    assert os.listdir(tmp_path) == ["object"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o444
