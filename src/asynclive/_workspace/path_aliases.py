"""Find the name that a path has in the repository, if it leads there under another name. Blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from .._artifact.request import ArtifactRequest
from .._fs.paths import is_inside


def place_request(request: ArtifactRequest, root: str) -> ArtifactRequest:
    """Return the request with the paths that it tracks below ``root``, if they lead there.

    Args:
        request: a request whose path is not below ``root`` by name.
        root: the root of the repository, without symlinks.
    """
    path, directory = place_below(request.path, root), request.artifacts_dir
    if directory is None:
        return replace(request, source=path, path=path)
    return replace(request, path=path, artifacts_dir=_place_directory(directory, root))


def place_below(path: str, root: str) -> str:
    """Return the name of a path below ``root``, or the path itself if it does not lead there.

    Links in ``root`` are not resolved, nor is the last component: DVC does not resolve them.
    """
    path = os.path.normpath(path)
    if is_inside(path, root):
        return path
    directory, name = os.path.split(path)
    return os.path.join(_place_directory(directory, root), name)


def _place_directory(directory: str, root: str) -> str:
    """Return the name of a directory below ``root``. There are two cases:

    1. A component is a link that leads into ``root``. Keep the components below it.
    2. A component is ``root``, mounted a second time.
    """
    for above in reversed([*_with_parents(directory)]):  # 1.
        real = os.path.realpath(above)
        if is_inside(real, root):
            return os.path.normpath(os.path.join(real, os.path.relpath(directory, above)))
    real = os.path.realpath(directory)
    with suppress(OSError):
        for above in _with_parents(real):  # 2.
            if os.path.exists(above) and os.path.samefile(above, root):
                return os.path.normpath(os.path.join(root, os.path.relpath(real, above)))
    return directory


def _with_parents(path: str) -> Iterator[str]:
    yield path
    while (parent := os.path.dirname(path)) != path:
        path = parent
        yield path
