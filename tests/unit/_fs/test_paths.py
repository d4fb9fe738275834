"""Paths inside of directories, and renamed with them."""

from __future__ import annotations

import pytest

from asynclive._fs.paths import is_inside, relocated


@pytest.mark.parametrize(
    ("path", "directory", "inside"),
    [
        ("/a", "/a", True),
        ("/a/b", "/a", True),
        ("/ab", "/a", False),
        ("/a", "/a/b", False),
        ("/a", "/", True),
        ("/", "/", True),
    ],
)
def test_a_path_is_in_a_directory_by_its_components(
    path: str, directory: str, inside: bool
) -> None:
    assert is_inside(path, directory) is inside


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        ("/a/b", "/a", "/x", "/x/b"),
        ("/a", "/a", "/x", "/x"),
        ("/ab", "/a", "/x", "/ab"),
        ("/a/b", "/", "/x", "/x/a/b"),
        ("/a/b", "/a", "/", "/b"),
    ],
)
def test_a_path_moves_with_its_directory(path: str, old: str, new: str, expected: str) -> None:
    assert relocated(path, old, new) == expected
