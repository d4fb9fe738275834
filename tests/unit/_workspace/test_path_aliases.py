"""A path that leads into the repository under another name gets its name there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asynclive._workspace.path_aliases import place_below


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tmp_path = tmp_path.resolve()
    root = tmp_path / "real" / "repo"
    (root / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "repo").symlink_to(root)
    (tmp_path / "sub").symlink_to("link/repo/sub")
    (root / "inner").symlink_to("sub")
    (root / "file").touch()
    (tmp_path / "file").symlink_to(root / "file")
    (tmp_path / "loop").symlink_to("loop")
    return root


@pytest.mark.parametrize(
    ("path", "placed"),
    [
        ("real/repo/file", "file"),
        ("link/repo/file", "file"),
        ("repo/sub/deep/missing", "sub/deep/missing"),
        ("sub/deep/file", "sub/deep/file"),
        ("repo/missing/file", "missing/file"),
        # Links in the repository stay, as in DVC.
        ("repo/inner/deep/file", "inner/deep/file"),
        ("real/repo/inner/file", "inner/file"),
        ("repo", None),
        ("file", None),
        ("elsewhere/file", None),
        ("real/repository/file", None),
        ("loop/file", None),
    ],
)
def test_links_outside_of_the_repository_are_resolved(
    root: Path, path: str, placed: str | None
) -> None:
    given = str(root.parent.parent / path)
    assert place_below(given, str(root)) == (given if placed is None else str(root / placed))


def test_a_second_mount_of_the_repository_is_the_repository(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = tmp_path / "mount"
    (mount / "sub").mkdir(parents=True)
    monkeypatch.setattr(
        os.path, "samefile", lambda one, other: {one, other} == {str(mount), str(root)}
    )
    assert place_below(str(mount / "sub" / "file"), str(root)) == str(root / "sub" / "file")
    assert place_below(str(tmp_path / "file"), str(root)) == str(tmp_path / "file")
