"""Who may log what: paths, copies and names that calls in flight have claimed. No I/O."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ._artifact import ArtifactRequest
from ._errors import ArtifactConflictError


class Claims:
    """The claims of one AsyncLive object.

    Calls in flight declare no order, so two of them may not share what only one can have: a
    tracked path (or one inside the other) or a name in dvc.yaml. One after the other may.
    """

    def __init__(self) -> None:
        self._paths: dict[str, ArtifactRequest] = {}
        # For each directory, the calls in flight below it, by path.
        self._below: dict[str, dict[str, ArtifactRequest]] = {}
        self._names: dict[str, ArtifactRequest] = {}
        # Which name each copy was recorded under, for as long as this session lasts.
        self._named_copies: dict[str, str] = {}

    def take(self, request: ArtifactRequest) -> None:
        """Claim for the request what it needs, until ``release``.

        Raises:
            ArtifactConflictError: another call has it; names that call.
        """
        self._check(request)
        self._paths[request.path] = request
        for directory in _directories_above(request.path):
            self._below.setdefault(directory, {})[request.path] = request
        if request.entry is not None:
            self._names[request.name] = request

    def release(self, request: ArtifactRequest) -> None:
        """Give back what ``take`` claimed."""
        del self._paths[request.path]
        for directory in _directories_above(request.path):
            below = self._below[directory]
            del below[request.path]
            if not below:
                del self._below[directory]
        if request.entry is not None:
            del self._names[request.name]

    def remember(self, request: ArtifactRequest) -> None:
        """The request was logged: its copy now goes by its name."""
        if request.copy and request.entry is not None:
            self._named_copies[request.path] = request.name

    def _check(self, request: ArtifactRequest) -> None:
        path = request.path
        for other in self._overlapping(path):
            what = "copied to" if other.copy else "logged at"
            raise ArtifactConflictError(
                request.source,
                other.source,
                f"'{other.source}' is being {what} '{other.path}' at this moment, which is, holds "
                f"or lies in '{path}'. Await that call first"
                + (
                    ", or give one of them another place with copy='sub/dir'."
                    if other.copy
                    else "."
                ),
            )
        if request.entry is None:
            return
        if request.name in self._names:
            other = self._names[request.name]
            raise ArtifactConflictError(
                request.source,
                other.source,
                f"'{other.source}' is being logged as {request.name!r} at this moment. Await that "
                "call first, or pass another name=.",
            )
        named = self._named_copies.get(path)
        if request.copy and named is not None and named != request.name:
            raise ArtifactConflictError(
                request.source,
                path,
                f"its copy '{path}' is the artifact {named!r} of this session, whose file it would "
                f"replace. Log it as {named!r} too, or elsewhere with copy='sub/dir'.",
            )

    def _overlapping(self, path: str) -> Iterator[ArtifactRequest]:
        if path in self._paths:
            yield self._paths[path]
        for directory in _directories_above(path):
            if directory in self._paths:
                yield self._paths[directory]
        yield from self._below.get(path, {}).values()


def _directories_above(path: str) -> Iterator[str]:
    while (directory := os.path.dirname(path)) != path:
        yield directory
        path = directory
