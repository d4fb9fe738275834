"""The framing of the pipe to a batch process."""

from __future__ import annotations

import marshal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

_LENGTH_BYTES = 8


def message(value: Any) -> bytes:
    """Plain values as they go through a pipe, which both ends of the same Python understand."""
    data = marshal.dumps(value)
    return len(data).to_bytes(_LENGTH_BYTES, "little") + data


def receive(pipe: IO[bytes]) -> Any:
    """The next message; EOFError: there is none, or not all of it."""
    length = int.from_bytes(pipe.read(_LENGTH_BYTES), "little")
    data = pipe.read(length)
    if not length or len(data) < length:
        raise EOFError
    return marshal.loads(data)
