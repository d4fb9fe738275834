"""Reads .dvc files that are laid out exactly as DVC writes them.

DVC takes two milliseconds to read a .dvc file. A workspace has thousands of them, and those that
other processes have written are read while the repository's lock is held. The index needs the path
of the output, and a push its hash. When that artifact is logged again, DVC reads the file.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from .dvc_file_text import is_plain

_FILE = re.compile(
    rb"outs:\n"
    rb"- md5: ([0-9a-f]{32}(?:\.dir)?)\n"
    rb"  size: (\d+)\n"
    rb"(?:  nfiles: \d+\n)?"
    rb"(?:  isexec: true\n)?"
    rb"  hash: md5\n"
    rb"  path: ([A-Za-z0-9_.-]+)\n"
)
# A file that matches is shorter: most file systems limit names to 255 bytes.
_MAX_BYTES = 1024


@dataclass(frozen=True, slots=True)
class DvcFile:
    """A .dvc file: a stage without a command."""

    path: str
    cmd: None = None

    @property
    def addressing(self) -> str:
        """DVC's name for the stage."""
        return os.path.relpath(self.path)


@dataclass(frozen=True, slots=True)
class DvcFileOutput:
    """The output of a .dvc file. Logging it again needs DVC's own ``Output``."""

    fs_path: str
    stage: DvcFile
    md5: str
    size: int


def read_dvc_file(path: str) -> DvcFileOutput | None:
    """Return the output that a .dvc file declares; None if DVC has to read the file."""
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_BYTES)
    except OSError:
        return None
    match = _FILE.fullmatch(text)
    if match is None:
        return None
    md5, name = match[1].decode(), match[3].decode()
    if not is_plain(md5) or not is_plain(name):
        return None  # YAML may read one of them as a number
    output_path = os.path.join(os.path.dirname(path), name)
    return DvcFileOutput(output_path, DvcFile(path), md5, int(match[2]))
