"""What a .dvc file declares, where it is laid out as DVC writes it and says nothing else.

DVC takes two milliseconds to read one. A workspace has thousands, and those that other processes
write meanwhile are read under the repository's lock. Whose they are is all that matters, until
one is logged again: then DVC reads it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from .dvc_file_text import is_plain

_FILE = re.compile(
    rb"outs:\n"
    rb"- md5: ([0-9a-f]{32}(?:\.dir)?)\n"
    rb"  size: \d+\n"
    rb"(?:  nfiles: \d+\n)?"
    rb"(?:  isexec: true\n)?"
    rb"  hash: md5\n"
    rb"  path: ([A-Za-z0-9_.-]+)\n"
)
# Longer than any that matches, as far as names are as long as file systems have them.
_MOST_BYTES = 1024


@dataclass(frozen=True, slots=True)
class DvcFile:
    """A .dvc file, which is a stage without a command."""

    path: str
    cmd: None = None

    @property
    def addressing(self) -> str:
        """What DVC calls the stage."""
        return os.path.relpath(self.path)


@dataclass(frozen=True, slots=True)
class DvcFileOutput:
    """What the file declares. To log it again, DVC's own ``Output`` is needed."""

    fs_path: str
    stage: DvcFile


def read_dvc_file(path: str) -> DvcFileOutput | None:
    """The output that a .dvc file declares; None: it is for DVC to read."""
    try:
        with open(path, "rb") as file:
            text = file.read(_MOST_BYTES)
    except OSError:
        return None
    found = _FILE.fullmatch(text)
    if found is None:
        return None
    md5, name = found[1].decode(), found[2].decode()
    if not is_plain(md5) or not is_plain(name):
        return None  # YAML may read it as a number
    return DvcFileOutput(os.path.join(os.path.dirname(path), name), DvcFile(path))
