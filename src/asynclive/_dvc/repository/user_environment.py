"""Checks the things that DVC needs of its user: a name, a home directory, a site cache.

DVC keeps its state, which no repository contains, in a directory for all repositories and users of
a host: the site cache. Its errors do not name the setting or the variable that helps.
"""

from __future__ import annotations

import getpass
import os
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..._fs.paths import is_inside

_SITE_CACHE_ADVICE = (
    "Set DVC_SITE_CACHE_DIR to a directory that this user can write to, or run 'dvc config --local "
    "core.site_cache_dir DIR'."
)


def explain_environment(error: Exception, root: str) -> str | None:
    """Return why DVC cannot open a repository for this user, and what to do; None: it is unknown.

    Args:
        error: the error of DVC.
        root: the directory that was opened.
    """
    if isinstance(error, (KeyError, OSError, RuntimeError)):
        problem = find_user_problem()
        if problem is not None:
            return problem
        if "home directory" in str(error):  # of platformdirs
            return f"{error}. Set HOME to a directory that this user can write to."
    if not isinstance(error, (OSError, sqlite3.Error)):
        return None
    directory = site_cache_dir(_read_core_config(root))
    filename = getattr(error, "filename", None)
    if isinstance(error, sqlite3.Error) or (
        isinstance(filename, str) and is_inside(os.path.abspath(filename), directory)
    ):
        reason = getattr(error, "strerror", None) or error
        return f"DVC cannot write to its site cache '{directory}' ({reason}). {_SITE_CACHE_ADVICE}"
    return None


def find_user_problem() -> str | None:
    """Return why DVC cannot work for this user; None: it can."""
    try:
        getpass.getuser()  # as DVC does
    except (KeyError, OSError, ImportError):  # OSError: Python 3.13
        user = f"The user id {os.getuid()}" if hasattr(os, "getuid") else "This user"
        return (
            f"{user} has no entry in the passwd database, and DVC needs the name of the user. Set "
            "LOGNAME to any name, and HOME to a directory that this user can write to."
        )
    return None


def find_site_cache_problem(directory: str) -> str | None:
    """Return why DVC cannot write to its site cache; None: it can. Changes nothing."""
    existing = os.path.join(directory, "repo")
    with suppress(OSError):
        # DVC has a directory there for each repository and user.
        if any(_is_writable(os.path.join(existing, name)) for name in os.listdir(existing)):
            return None
    while not os.path.lexists(existing) and os.path.dirname(existing) != existing:
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        reason = f"'{existing}' is not a directory"
    elif not _is_writable(existing):
        reason = f"'{existing}' is not writable"
    else:
        return None
    return f"DVC cannot write to its site cache '{directory}': {reason}. {_SITE_CACHE_ADVICE}"


def _is_writable(directory: str) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=effective)


def site_cache_dir(core: Mapping[str, Any]) -> str:
    """Return DVC's site cache (``dvc.dirs.site_cache_dir``).

    Args:
        core: the section ``core`` of DVC's configuration.
    """
    from dvc.dirs import site_cache_dir as default_dir

    configured = os.environ.get("DVC_SITE_CACHE_DIR") or core.get("site_cache_dir")
    return os.path.abspath(configured or default_dir())


def _read_core_config(root: str) -> Mapping[str, Any]:
    from dvc.config import Config
    from dvc.repo import Repo

    try:
        core: Mapping[str, Any] = Config(os.path.join(Repo.find_root(root), Repo.DVC_DIR))["core"]
    except Exception:  # DVC cannot read it; its error is reported
        return {}
    return core
