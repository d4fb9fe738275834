"""Which calls may not run together, and which come first. No I/O."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from .._artifact.request import ArtifactRequest
from .._errors import ArtifactConflictError


class ConflictingCall(Protocol):
    """A call, as :class:`Conflicts` uses it. Two calls are the same if they are one object."""

    @property
    def request(self) -> ArtifactRequest: ...

    @property
    def submitted(self) -> bool:
        """The caller goes on while the call is in flight, and so has declared an order."""
        ...

    @property
    def latest_wins(self) -> bool:
        """Of several such calls only the newest counts. That is an order too."""
        ...


CallT = TypeVar("CallT", bound=ConflictingCall)


class Conflicts(Generic[CallT]):
    """The paths and names that the calls in flight of one session have claimed.

    Two calls conflict if they have the same tracked path, if the path of one lies in that of the
    other, or if they have the same name in dvc.yaml. If one of them was submitted, the later call
    is logged after the earlier one. If both callers wait for their calls, they have declared no
    order, and the later call is refused.
    """

    def __init__(self) -> None:
        # For each path and each name: the calls in flight that claim it, in the order of the calls.
        self._by_path: dict[str, dict[CallT, None]] = {}
        self._by_name: dict[str, dict[CallT, None]] = {}
        # For each directory: the claimed paths below it.
        self._paths_below: dict[str, dict[str, None]] = {}
        # For the path of each logged copy: its name. Kept as long as the session lasts.
        self._copy_names: dict[str, str] = {}

    def claim(self, call: CallT) -> list[CallT]:
        """Claim the path and the name of a call until ``release``.

        Returns:
            The calls in flight that must be logged before it.

        Raises:
            ArtifactConflictError: a call in flight conflicts with it, and they have no order; or
                the copy would replace the logged copy of another name. Nothing is claimed.
        """
        request = call.request
        earlier = self._earlier_calls(call)
        self._by_path.setdefault(request.path, {})[call] = None
        for directory in _directories_above(request.path):
            self._paths_below.setdefault(directory, {})[request.path] = None
        if request.entry is not None:
            self._by_name.setdefault(request.name, {})[call] = None
        return earlier

    def release(self, call: CallT) -> None:
        """Give up the claims of a call, if it has any."""
        request = call.request
        if call not in self._by_path.get(request.path, ()):
            return
        if _discard(self._by_path, request.path, call):
            for directory in _directories_above(request.path):
                _discard(self._paths_below, directory, request.path)
        if request.entry is not None:
            _discard(self._by_name, request.name, call)

    def reserve_copy(self, request: ArtifactRequest) -> None:
        """Reserve the copy of a logged request for its name, for the rest of the session."""
        if request.copy and request.entry is not None:
            self._copy_names[request.path] = request.name

    def others_at_path(self, call: CallT) -> Iterator[CallT]:
        """Return the other calls in flight for the same path, in the order of the calls."""
        return (other for other in self._by_path.get(call.request.path, ()) if other is not call)

    def _earlier_calls(self, call: CallT) -> list[CallT]:
        """Return the calls that conflict with this one, in no order, each of them once.

        Raises:
            ArtifactConflictError: as ``claim`` does.
        """
        request = call.request
        earlier: dict[CallT, None] = {}
        for other in self._overlapping_calls(request.path):
            if not _have_order(call, other):
                raise _path_conflict(request, other.request)
            if request.path == other.request.path:
                _check_copy_name(request, other.request)
            earlier[other] = None
        if request.entry is None:
            return list(earlier)
        for other in self._by_name.get(request.name, ()):
            if not _have_order(call, other):
                raise ArtifactConflictError(
                    request.source,
                    other.request.source,
                    f"'{other.request.source}' is being logged as {request.name!r} at this "
                    "moment. Await that call first, or pass another name=.",
                )
            earlier[other] = None
        reserved = self._copy_names.get(request.path)
        if request.copy and reserved is not None and reserved != request.name:
            raise ArtifactConflictError(
                request.source,
                request.path,
                f"its copy '{request.path}' is the artifact {reserved!r} of this session, and "
                f"would be replaced. Log it as {reserved!r} too, or give it another place with "
                "copy='sub/dir'.",
            )
        return list(earlier)

    def _overlapping_calls(self, path: str) -> Iterator[CallT]:
        """Yield the calls whose path is this one, or lies above or below it."""
        yield from self._by_path.get(path, ())
        for directory in _directories_above(path):
            yield from self._by_path.get(directory, ())
        for below in self._paths_below.get(path, ()):
            yield from self._by_path[below]


def _have_order(call: ConflictingCall, other: ConflictingCall) -> bool:
    return call.submitted or other.submitted or (call.latest_wins and other.latest_wins)


def _check_copy_name(request: ArtifactRequest, other: ArtifactRequest) -> None:
    """Refuse a copy that would replace the copy of another name, which is in flight."""
    if not (request.copy and other.copy) or None in (request.entry, other.entry):
        return
    if request.name != other.name:
        raise ArtifactConflictError(
            request.source,
            other.source,
            f"'{other.source}' is being copied to '{other.path}' as {other.name!r}, and that copy "
            f"would be replaced. Log it as {other.name!r} too, or give it another place with "
            "copy='sub/dir'.",
        )


def _path_conflict(request: ArtifactRequest, other: ArtifactRequest) -> ArtifactConflictError:
    verb = "copied to" if other.copy else "logged at"
    hint = ", or give one of them another place with copy='sub/dir'" if other.copy else ""
    return ArtifactConflictError(
        request.source,
        other.source,
        f"'{other.source}' is being {verb} '{other.path}' at this moment. That path is, contains "
        f"or lies in '{request.path}'. Await that call first{hint}.",
    )


KeyT = TypeVar("KeyT")


def _discard(groups: dict[str, dict[KeyT, None]], name: str, member: KeyT) -> bool:
    """Remove a member from its group; return whether the group was emptied, and so removed."""
    group = groups[name]
    del group[member]
    if group:
        return False
    del groups[name]
    return True


def _directories_above(path: str) -> Iterator[str]:
    while (directory := os.path.dirname(path)) != path:
        yield directory
        path = directory
