"""What of a directory decides what DVC tracks, and how to tell that a file changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

GITIGNORE, DVCIGNORE = RULES = (".gitignore", ".dvcignore")


@dataclass(frozen=True, slots=True)
class Listing:
    """The names in a directory, less the files that are none of DVC's."""

    dirs: list[str]
    dvc_files: list[str]
    rule_files: list[str]
    """The files that hide names."""


def list_directory(path: str, is_dvc_file: Callable[[str], bool]) -> Listing:
    """List it, as DVC walks: a link to a directory is nothing.

    Raises:
        OSError: it is not a directory, or cannot be read.
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
