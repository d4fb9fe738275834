"""Paths inside of directories, and renamed with them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from asynclive._fs import paths
from asynclive._fs.paths import import_path, is_inside, relocated


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


# --- The import path for another interpreter --------------------------------------------------


@pytest.mark.parametrize(
    ("file", "spec", "given", "expected"),
    [
        (None, None, ["", "/lib", "/site"], ["/lib", "/site"]),  # -c, a notebook
        ("/cwd/x.py", None, ["/cwd", "/lib", "/site"], ["/lib", "/site"]),
        ("/bin/x", None, ["/mine", "/bin", "/lib"], ["/mine", "/lib"]),  # changed by the program
        ("/cwd/pkg/__main__.py", "pkg", ["/cwd", "/lib"], ["/lib"]),  # -m
        # PYTHONPATH and .pth files come after the entry of the program, and count.
        ("/cwd/x.py", None, ["/cwd", "/cwd", "/lib"], ["/cwd", "/lib"]),
        (None, None, ["", "/cwd", "/lib"], ["/cwd", "/lib"]),
        (None, None, ["", "src", "/lib"], ["/cwd/src", "/lib"]),
        # All is in one archive.
        ("/app.pyz/__main__.py", "__main__", ["/app.pyz", "/lib"], ["/lib", "/app.pyz"]),
        ("/cwd/x.py", None, ["/cwd", "/lib", Path("/path"), None], ["/lib"]),
    ],
)
def test_the_import_path_leaves_out_the_directory_of_the_program(
    monkeypatch: pytest.MonkeyPatch,
    file: str | None,
    spec: str | None,
    given: list[str],
    expected: list[str],
) -> None:
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__file__=file, __spec__=spec))
    monkeypatch.setattr(sys, "path", given)
    monkeypatch.setattr(os, "getcwd", lambda: "/cwd")
    monkeypatch.setattr(paths, "_package_parent", lambda: "/app.pyz")
    assert import_path() == expected


def test_without_a_working_directory_the_import_path_has_no_relative_entries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> str:
        raise FileNotFoundError

    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace())
    monkeypatch.setattr(sys, "path", ["", "src", "/lib"])
    monkeypatch.setattr(os, "getcwd", refuse)
    assert import_path() == ["/lib"]
