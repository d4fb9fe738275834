"""Who may log what, and after whom: what calls in flight have claimed. No I/O."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from .._artifact.request import ArtifactRequest
from .._errors import ArtifactConflictError


class ConflictingCall(Protocol):
    """A call, known by its identity."""

    @property
    def request(self) -> ArtifactRequest: ...

    @property
    def submitted(self) -> bool:
        """Its caller goes on while it is in flight, and so has declared an order."""
        ...

    @property
    def latest_wins(self) -> bool:
        """Of several, the newest is the one that counts: an order too."""
        ...


CallT = TypeVar("CallT", bound=ConflictingCall)


class Conflicts(Generic[CallT]):
    """The claims of one AsyncLive object.

    Two calls in flight may want what only one can have: a tracked path (or one inside the other)
    or a name in dvc.yaml. Where one of them was submitted they come after one another, as they
    were called. Two whose callers wait for them declare no order: the second is refused.
    """

    def __init__(self) -> None:
        # For each path and name, the calls in flight that claim it, in order.
        self._paths: dict[str, dict[CallT, None]] = {}
        self._names: dict[str, dict[CallT, None]] = {}
        # For each directory, the claimed paths below it.
        self._below: dict[str, dict[str, None]] = {}
        # Which name each copy was recorded under, for as long as this session lasts.
        self._named_copies: dict[str, str] = {}

    def take(self, call: CallT) -> list[CallT]:
        """Claim for the call what it needs, until ``release``.

        Returns:
            The calls in flight that are to be logged before it.

        Raises:
            ArtifactConflictError: another call has it; names that call.
        """
        request = call.request
        earlier = self._earlier(call)
        self._paths.setdefault(request.path, {})[call] = None
        for directory in _directories_above(request.path):
            self._below.setdefault(directory, {})[request.path] = None
        if request.entry is not None:
            self._names.setdefault(request.name, {})[call] = None
        return earlier

    def release(self, call: CallT) -> None:
        """Give back what ``take`` claimed."""
        request = call.request
        if _drop(self._paths, request.path, call):
            for directory in _directories_above(request.path):
                _drop(self._below, directory, request.path)
        if request.entry is not None:
            _drop(self._names, request.name, call)

    def remember(self, request: ArtifactRequest) -> None:
        """The request was logged: its copy now goes by its name."""
        if request.copy and request.entry is not None:
            self._named_copies[request.path] = request.name

    def same(self, call: CallT) -> Iterator[CallT]:
        """Other calls in flight for the same path, in order."""
        return (one for one in self._paths.get(call.request.path, ()) if one is not call)

    def _earlier(self, call: CallT) -> list[CallT]:
        request = call.request
        earlier: dict[CallT, None] = {}
        for other in self._overlapping(request.path):
            if not _in_order(call, other):
                raise _meets(request, other.request)
            if request.path == other.request.path:
                _check_named(request, other.request)
            earlier[other] = None
        if request.entry is None:
            return list(earlier)
        for other in self._names.get(request.name, ()):
            if not _in_order(call, other):
                raise ArtifactConflictError(
                    request.source,
                    other.request.source,
                    f"'{other.request.source}' is being logged as {request.name!r} at this "
                    "moment. Await that call first, or pass another name=.",
                )
            earlier[other] = None
        named = self._named_copies.get(request.path)
        if request.copy and named is not None and named != request.name:
            raise ArtifactConflictError(
                request.source,
                request.path,
                f"its copy '{request.path}' is the artifact {named!r} of this session, whose file "
                f"it would replace. Log it as {named!r} too, or elsewhere with copy='sub/dir'.",
            )
        return list(earlier)

    def _overlapping(self, path: str) -> Iterator[CallT]:
        yield from self._paths.get(path, ())
        for directory in _directories_above(path):
            yield from self._paths.get(directory, ())
        for below in self._below.get(path, ()):
            yield from self._paths[below]


def _in_order(call: ConflictingCall, other: ConflictingCall) -> bool:
    return call.submitted or other.submitted or (call.latest_wins and other.latest_wins)


def _check_named(request: ArtifactRequest, other: ArtifactRequest) -> None:
    """Refuse a copy that would replace that of another name, which is still on its way."""
    if not (request.copy and other.copy) or None in (request.entry, other.entry):
        return
    if request.name != other.name:
        raise ArtifactConflictError(
            request.source,
            other.source,
            f"'{other.source}' is being copied to '{other.path}' as {other.name!r}, whose file it "
            f"would replace. Log it as {other.name!r} too, or elsewhere with copy='sub/dir'.",
        )


def _meets(request: ArtifactRequest, other: ArtifactRequest) -> ArtifactConflictError:
    what = "copied to" if other.copy else "logged at"
    return ArtifactConflictError(
        request.source,
        other.source,
        f"'{other.source}' is being {what} '{other.path}' at this moment, which is, holds "
        f"or lies in '{request.path}'. Await that call first"
        + (", or give one of them another place with copy='sub/dir'." if other.copy else "."),
    )


KeyT = TypeVar("KeyT")


def _drop(groups: dict[str, dict[KeyT, None]], name: str, one: KeyT) -> bool:
    """Take one out of its group; whether the group is empty, and gone."""
    group = groups[name]
    del group[one]
    if group:
        return False
    del groups[name]
    return True


def _directories_above(path: str) -> Iterator[str]:
    while (directory := os.path.dirname(path)) != path:
        yield directory
        path = directory
