"""PushTarget: what a caller of ``push`` names, checked. No I/O."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from .._errors import ArtifactPathError, InvalidDataTypeError
from .._fs.paths import relocated
from .records import LoggedArtifact


class PushTarget(NamedTuple):
    """A path or name that a caller of ``push`` gave."""

    given: str
    """As the caller wrote it, for messages. It may be the name of an artifact."""
    path: str
    """The same as a path, absolute: relative to the root of the session."""
    may_be_name: bool = True
    """False: it is a path-like object, or a logged artifact."""


def make_target(target: Any, root: str, real_root: str) -> PushTarget:
    """Return what an argument of ``AsyncLive.push`` means.

    Args:
        target: the argument.
        root: the directory of relative paths; absolute.
        real_root: ``root`` with symlinks resolved. Paths in ``root`` are returned below it.

    Raises:
        InvalidDataTypeError: it is none of the accepted types.
        ArtifactPathError: it is not a path.
    """
    if isinstance(target, LoggedArtifact):
        if target.md5 is None:
            raise ArtifactPathError(
                target.path, "was logged with cache=False: DVC has no objects of it to push."
            )
        return PushTarget(str(target.path), str(target.path), may_be_name=False)
    try:
        given = os.fspath(target)
    except TypeError:
        given = None
    if not isinstance(given, str):
        raise InvalidDataTypeError(target, target.__class__)
    if not given or "\0" in given:
        raise ArtifactPathError(given, "is not a path: it is empty or has a null character.")
    path = relocated(os.path.normpath(os.path.join(real_root, given)), root, real_root)
    return PushTarget(given, path, may_be_name=isinstance(target, str))
