"""RemoteStore: the protocol that each kind of remote implements.

Three classes implement it: ``ObjectStorage`` (S3, GCS, Azure), ``LocalRemote`` (a directory) and
``DvcStore`` (all others, by DVC's own classes). One store serves all pushes of a session to its
remote. It acquires a permit for each request, and pays for each byte that it sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from .._artifact.push_records import PushObject, VerifiedBy

OnBytes = Callable[[int], None]
"""Called with the number of bytes that were sent, or that need not be sent again."""


class Sent(NamedTuple):
    """An object that was sent, and is proven."""

    verified_by: VerifiedBy
    resumed_bytes: int = 0
    """The bytes that an earlier push had sent."""


class WrongObjectError(Exception):
    """The remote has other bytes under the name of the object. The message says what differs."""


class UnreadableObjectError(Exception):
    """The object in the cache is missing, cannot be read, or does not have its name's MD5."""


class RemoteStore(Protocol):
    """A place for objects. Its methods run on the loop of the push thread.

    Every method may raise ``RemoteAccessError``: no other request will succeed either. Any other
    exception concerns the object alone. A cancelled method leaves nothing open that is not
    journalled.
    """

    backend: str
    """As in ``PushResult``."""

    async def find(self, objects: Sequence[PushObject]) -> Mapping[str, VerifiedBy | None]:
        """Look for objects in the remote; return how each one that is there is proven, by MD5.

        None: it is there, and its size or checksum does not fit. An object that is not there is
        missing in the mapping.
        """
        ...

    async def send(self, obj: PushObject, source: str, on_bytes: OnBytes) -> Sent:
        """Send the file ``source`` as an object, replacing one that is there, and prove it.

        Raises:
            WrongObjectError: the remote answers that it has other bytes. They are removed.
            UnreadableObjectError: the file does not have the bytes that its name promises.
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
