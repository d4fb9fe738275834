"""Messages between two processes, over a pair of sockets with a channel at each end.

A message is a pickle with its length before it. Neither end waits for a socket but in its event
loop, and between two messages others have their turn.
"""

from __future__ import annotations

import pickle
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel

# Its first name, until anyio 4.7.
_wait_readable = getattr(anyio, "wait_readable", None) or anyio.wait_socket_readable
_wait_writable = getattr(anyio, "wait_writable", None) or anyio.wait_socket_writable

_LENGTH_BYTES = 8
# To and from the socket at once: copied in some 20 microseconds.
_CHUNK_BYTES = 64 * 1024


class Channel:
    """One end. One task sends (``run``) and one receives; anybody may post, even before.

    Args:
        first: called before some messages are sent; what it returns is sent before them, if it
            is not None.
    """

    _sock: socket.socket

    def __init__(self, first: Callable[[], Any] = lambda: None) -> None:
        self._first = first
        # Bounded by who posts: a few messages for each call in flight, and so many more that
        # `waiting` tells him to stop.
        self._outgoing: deque[bytes] = deque()
        self._posted = anyio.Event()
        self._ending = False
        # At most one message that has not wholly come, and a chunk.
        self._incoming = bytearray()

    def connect(self, sock: socket.socket) -> None:
        """Use this socket, which has the other end at its other end; it is closed with this."""
        sock.setblocking(False)
        self._sock = sock

    @property
    def waiting(self) -> int:
        """How many messages are posted and not sent."""
        return len(self._outgoing)

    def post(self, message: Any) -> None:
        """Send ``message`` after those posted before, as it is now. To nobody, if he has ended.

        Raises:
            Exception: it cannot be pickled, whatever its parts raise.
        """
        data = _framed(message)
        if not self._ending:
            self._outgoing.append(data)
            self._posted.set()

    def end(self) -> None:
        """Nothing more will be posted: once all is sent, the other end sees the end."""
        self._ending = True
        self._posted.set()

    async def run(self) -> None:
        """Send what is posted until ``end``, or until there is nobody to read it.

        Cancellation: takes effect at once; what was not sent by then is lost.
        """
        try:
            while True:
                while self._outgoing:
                    await self._send_some()
                if self._ending:
                    break
                self._posted = anyio.Event()
                await self._posted.wait()
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:  # the other process has ended: whoever receives sees that too
            self._ending = True
            self._outgoing.clear()

    async def receive(self) -> Any:
        """Return the next message.

        Raises:
            EOFError: there are no more: the other end said so, or its process has ended.
        """
        await anyio.lowlevel.checkpoint()
        while True:
            end = _LENGTH_BYTES + int.from_bytes(self._incoming[:_LENGTH_BYTES], "big")
            if len(self._incoming) >= max(end, _LENGTH_BYTES):
                data = bytes(self._incoming[_LENGTH_BYTES:end])
                del self._incoming[:end]
                return pickle.loads(data)
            try:
                data = self._sock.recv(_CHUNK_BYTES)
            except BlockingIOError:
                await _wait_readable(self._sock)
                continue
            except OSError:
                data = b""
            if not data:
                raise EOFError
            self._incoming += data

    def close(self) -> None:
        """Close the socket; no task of the channel runs any more."""
        self._sock.close()

    async def _send_some(self) -> None:
        """Send as many messages at once as a chunk holds, and a large one in many chunks."""
        first = self._first()
        chunk = bytearray(b"" if first is None else _framed(first))
        while self._outgoing and len(chunk) < _CHUNK_BYTES:
            chunk += self._outgoing.popleft()
        with memoryview(chunk) as view:
            sent = 0
            while sent < len(chunk):
                try:
                    sent += self._sock.send(view[sent : sent + _CHUNK_BYTES])
                except BlockingIOError:
                    await _wait_writable(self._sock)
                else:
                    await anyio.lowlevel.checkpoint()


def _framed(message: Any) -> bytes:
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data
