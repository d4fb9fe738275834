"""Remove our own files, write-protected or not."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from collections.abc import Callable
from logging import getLogger
from typing import Any

logger = getLogger(__name__)


def remove_tree(path: str, tried: set[str] | None = None) -> None:
    """Remove a file or directory of our own, write-protected or not, if it is there.

    Args:
        path: what to remove.
        tried: what was made writable before, and could not be removed all the same.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        os.unlink(path)
        return

    tried = set() if tried is None else tried

    def make_writable(func: Callable[..., Any], failed: str, info: Any) -> None:
        error = info if isinstance(info, BaseException) else info[1]
        if isinstance(error, FileNotFoundError):
            return  # a second attempt has removed it
        if failed in tried:
            raise error
        tried.add(failed)
        for below in (os.path.dirname(failed), failed):
            with contextlib.suppress(OSError):
                mode = os.lstat(below).st_mode
                # A file's own mode matters on Windows alone, and it may be a link to an object.
                if stat.S_ISDIR(mode) or os.name == "nt":
                    os.chmod(below, mode | stat.S_IRWXU)
        if func in (os.unlink, os.rmdir):
            func(failed)
        else:  # it could not be listed: all of it is left
            remove_tree(failed, tried)

    if sys.version_info >= (3, 12):
        shutil.rmtree(path, onexc=make_writable)
    else:
        shutil.rmtree(path, onerror=make_writable)


def try_remove_tree(path: str) -> None:
    """As ``remove_tree``; what the disk does not let go stays, to go with the session."""
    try:
        remove_tree(path)
    except (OSError, RecursionError) as error:
        logger.warning("'%s' cannot be removed now: %s", path, error)
