"""The kinds of paths: file, directory and symbolic link."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def make_file(path: Path, text: str) -> None:
    path.write_text(text)


def make_dir(path: Path, text: str) -> None:
    path.mkdir()
    (path / "below").write_text(text)


def make_link(path: Path, text: str) -> None:
    path.symlink_to(text)


MAKE: list[Callable[[Path, str], None]] = [make_file, make_dir, make_link]


def look(path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield the name, content and inode of a path and of all below it."""
    for found in [path, *sorted(path.rglob("*"))]:
        if found.is_symlink():
            content = f"-> {os.readlink(found)}"
        else:
            content = found.read_text() if found.is_file() else "directory"
        yield str(found.relative_to(path)), content, found.lstat().st_ino
