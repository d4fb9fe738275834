"""Lists the names in a directory that decide what DVC tracks."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

GITIGNORE, DVCIGNORE = RULES = (".gitignore", ".dvcignore")


@dataclass(frozen=True, slots=True)
class Listing:
    """The names in a directory, without the files that DVC does not read."""

    dirs: list[str]
    dvc_files: list[str]
    rule_files: list[str]
    """The files that hide names: .gitignore and .dvcignore."""


def list_directory(path: str, is_dvc_file: Callable[[str], bool]) -> Listing:
    """List a directory as DVC walks it: without symlinks to directories.

    Raises:
        OSError: ``path`` is not a directory, or cannot be read.
    """
    listing = Listing([], [], [])
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if entry.is_dir():
                if not entry.is_symlink():
                    listing.dirs.append(name)
            elif is_dvc_file(name):
                listing.dvc_files.append(name)
            elif name in RULES:
                listing.rule_files.append(name)
    return listing
