"""The framing of the pipe to a batch process."""

from __future__ import annotations

import marshal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

_LENGTH_BYTES = 8


def message(value: Any) -> bytes:
    """Return plain values as the bytes of one message; both ends run the same Python."""
    data = marshal.dumps(value)
    return len(data).to_bytes(_LENGTH_BYTES, "little") + data


def receive(pipe: IO[bytes]) -> Any:
    """Read the next message and return its values.

    Raises:
        EOFError: the other end has closed the pipe, or was killed in the middle of a message.
    """
    length = int.from_bytes(pipe.read(_LENGTH_BYTES), "little")
    data = pipe.read(length)
    if not length or len(data) < length:
        raise EOFError
    return marshal.loads(data)
