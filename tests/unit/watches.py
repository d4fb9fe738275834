"""Watches for the tests, and files that are older than the tick of the clock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asynclive._index.directory_watch import UnwatchableError
from asynclive._index.inotify import InotifyWatch, open_inotify

OLD_NS = 1_000_000_000_000_000_000


def inotify_for(directory: Path) -> InotifyWatch:
    """Return a watch by inotify; skip the test if it cannot watch this directory."""
    watch = open_inotify()
    if watch is None:
        pytest.skip("this system has no inotify")
    assert isinstance(watch, InotifyWatch)
    try:
        watch.add(str(directory))
    except UnwatchableError as error:
        watch.close()
        pytest.skip(f"inotify does not report changes here: {error}")
    watch.clear()
    return watch


def settle(root: Path) -> None:
    """Make every file and directory older than the tick of the clock."""
    for path in [root, *root.rglob("*")]:
        os.utime(path, ns=(OLD_NS, OLD_NS))
