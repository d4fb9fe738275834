"""Remove files and directories that asynclive made, write-protected or not. Blocks."""

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
    """Remove a file or directory that asynclive made, if it exists.

    Args:
        path: the file or directory.
        tried: the paths that were made writable before; if one of them fails again, raise.

    Raises:
        OSError: it cannot be removed, even after its directories were made writable.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        os.unlink(path)
        return

    tried = set() if tried is None else tried

    def retry_writable(func: Callable[..., Any], failed: str, info: Any) -> None:
        """Make the failed path and its directory writable, and try again."""
        error = info if isinstance(info, BaseException) else info[1]
        if isinstance(error, FileNotFoundError):
            return  # an earlier retry has removed it
        if failed in tried:
            raise error
        tried.add(failed)
        for below in (os.path.dirname(failed), failed):
            with contextlib.suppress(OSError):
                mode = os.lstat(below).st_mode
                # Only Windows checks the mode of the file itself. Elsewhere leave it alone: the
                # file may be a hard link to an object of the cache.
                if stat.S_ISDIR(mode) or os.name == "nt":
                    os.chmod(below, mode | stat.S_IRWXU)
        if func in (os.unlink, os.rmdir):
            func(failed)
        else:  # the directory could not be listed, so nothing of it is removed yet
            remove_tree(failed, tried)

    if sys.version_info >= (3, 12):
        shutil.rmtree(path, onexc=retry_writable)
    else:
        shutil.rmtree(path, onerror=retry_writable)


def try_remove_tree(path: str) -> None:
    """Call ``remove_tree``. If that fails, log a warning: the end of the session tries again."""
    try:
        remove_tree(path)
    except (OSError, RecursionError) as error:
        logger.warning("'%s' cannot be removed now: %s", path, error)
