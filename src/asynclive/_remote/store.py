"""RemoteStore: the protocol that each kind of remote implements.

Three classes implement it: ``ObjectStorage`` (S3, GCS, Azure), ``LocalRemote`` (a directory) and
``DvcStore`` (all others, by DVC's own classes). One store serves all pushes of a session to its
remote. It acquires a permit for each request, and pays for each byte that it sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .._artifact.push_policy import Verify
from .._artifact.push_records import PushObject, PushUnit, VerifiedBy

SourceOf = Callable[[PushObject], str]
"""Returns the path of an object in the cache."""
OnBytes = Callable[[int], None]
"""Called with the number of bytes that were sent, or that need not be sent again."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An object that was sent, and is proven."""

    verified_by: VerifiedBy
    resumed_bytes: int = 0
    """The bytes that an earlier push had sent."""
    etag: str = field(default="", compare=False)
    """The ETag that proves an object in parts, without quotes. It is not in the object's name."""


class WrongObjectError(Exception):
    """The remote has other bytes under the name of the object. The message says what differs."""


class UnreadableObjectError(Exception):
    """The object in the cache does not have the bytes that its name promises."""


class MissingObjectError(Exception):
    """The object is not in the cache, or cannot be read there."""


def explain_unreadable(error: OSError) -> MissingObjectError:
    """Return the error for an object of the cache that cannot be opened or read."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return MissingObjectError(
            "it is not in the cache: 'dvc gc' removed it, or it was never pulled. Log the artifact "
            "again, or run 'dvc fetch' if another remote has it"
        )
    return MissingObjectError(f"it cannot be read in the cache: {error.strerror or error}")


class RemoteStore(Protocol):
    """A place for objects. Its methods run on the loop of the push thread.

    Every method may raise ``RemoteAccessError``: no other request will succeed either. Any other
    exception concerns the object alone. A cancelled method leaves nothing open that is not
    journalled.
    """

    backend: str
    """As in ``PushResult``."""

    async def find(
        self, objects: Sequence[PushObject], verify: Verify | None, source_of: SourceOf
    ) -> Mapping[str, VerifiedBy | None]:
        """Look for objects in the remote; return how each one that is there is proven, by MD5.

        None: it is there, and its size or checksum does not fit. An object that is not there is
        missing in the mapping.

        Args:
            objects: all objects of one push to this remote. Their names differ.
            verify: the proof that the push asks for. If it is not ``"store"``, the size may be all
                that is compared: either it is enough, or ``check_by_reading`` follows.
            source_of: for a checksum that the name of an object does not tell.
        """
        ...

    async def send(self, obj: PushObject, source: str, on_bytes: OnBytes) -> Sent:
        """Send the file ``source`` as an object, replacing one that is there, and prove it.

        Raises:
            WrongObjectError: the remote answers that it has other bytes. They are removed.
            UnreadableObjectError: the file does not have the bytes that its name promises.
            MissingObjectError: the file cannot be read. See ``explain_unreadable``.
        """
        ...

    async def check_by_reading(self, obj: PushObject) -> None:
        """Read the object back, and compare the MD5 of its bytes with its name.

        Raises:
            WrongObjectError: they differ, or the object is not there.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. Nothing is in flight."""
        ...


class VersionedStore(RemoteStore, Protocol):
    """A cloud-versioned remote: files lie under their paths, and each write makes a version."""

    def turn(self, path: str) -> asyncio.Lock:
        """Return the lock that a push of the output at ``path`` holds."""
        ...

    def note_version(self, path: str, version: str | None) -> None:
        """Take note of the version of an object that its ``.dvc`` file names, before ``find``."""
        ...

    async def record(self, units: Sequence[PushUnit]) -> None:
        """Write the versions of all files into the ``.dvc`` files of outputs, under DVC's lock.

        An output that has other bytes by then is left alone.

        Raises:
            LockTimeoutError: another process holds DVC's lock.
        """
        ...
