"""Messages between two processes, over a pair of sockets with a channel at each end.

A message is a pickle, preceded by its length. A channel waits for its socket in the event loop
only, and lets other tasks run between two messages.
"""

from __future__ import annotations

import pickle
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import anyio
import anyio.lowlevel

# anyio 4.7 renamed these functions.
_wait_readable = getattr(anyio, "wait_readable", None) or anyio.wait_socket_readable
_wait_writable = getattr(anyio, "wait_writable", None) or anyio.wait_socket_writable

LENGTH_BYTES = 8
# Limit on the bytes of one read or write. The system copies so many in some 20 microseconds, during
# which the event loop stands still.
_CHUNK_BYTES = 64 * 1024


def _no_message() -> None:
    return None


class Channel:
    """One end of a pair. One task sends (``run``), and one task receives.

    Any code on the event loop may post, even before the channel is connected.

    Args:
        leading_message: called before a batch of messages is sent. The message that it returns,
            if not None, is sent before the batch.
    """

    def __init__(self, leading_message: Callable[[], Any] = _no_message) -> None:
        self._leading_message = leading_message
        self._connected: socket.socket | None = None
        # Bounded by the code that posts: a few messages for each call in flight, and log records,
        # which are dropped if ``queue_length`` is too large.
        self._outgoing: deque[bytes] = deque()
        self._posted = anyio.Event()
        self._ending = False
        # Bounded by a chunk, and a message that has not arrived completely.
        self._incoming = bytearray()

    @property
    def _sock(self) -> socket.socket:
        assert self._connected is not None
        return self._connected

    def connect(self, sock: socket.socket) -> None:
        """Use this end of a socket pair. ``close`` closes it."""
        sock.setblocking(False)
        self._connected = sock

    @property
    def queue_length(self) -> int:
        """The number of messages that are posted and not yet sent."""
        return len(self._outgoing)

    def post(self, message: Any) -> None:
        """Queue ``message``, pickled now, for sending. Do nothing if the other end has ended.

        Raises:
            Exception: any error of a part of the message that does not pickle.
        """
        data = _framed(message)
        if not self._ending:
            self._outgoing.append(data)
            self._posted.set()

    def post_first(self, messages: Iterable[Any]) -> None:
        """Queue messages before those that were posted for a process that had not started."""
        self._outgoing.extendleft(map(_framed, reversed([*messages])))
        self._posted.set()

    def end(self) -> None:
        """Accept no further messages. The other end sees the end once it has received them all."""
        self._ending = True
        self._posted.set()

    async def run(self) -> None:
        """Send the posted messages until ``end``, or until the other process has ended.

        Cancellation: takes effect at once. Messages that were not sent are lost.
        """
        try:
            while True:
                while self._outgoing:
                    await self._send_batch()
                if self._ending:
                    break
                self._posted = anyio.Event()
                await self._posted.wait()
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:  # the other process has ended; ``receive`` reports that
            self._ending = True
            self._outgoing.clear()

    async def receive(self) -> Any:
        """Return the next message.

        Raises:
            EOFError: there are no more messages: the other end, or its process, has ended.
        """
        await anyio.lowlevel.checkpoint()
        while True:
            end = LENGTH_BYTES + int.from_bytes(self._incoming[:LENGTH_BYTES], "big")
            if len(self._incoming) >= max(end, LENGTH_BYTES):
                data = bytes(self._incoming[LENGTH_BYTES:end])
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
        """Close the socket. No task may use the channel any more."""
        self._sock.close()

    async def _send_batch(self) -> None:
        """Send the messages that fit into a chunk, or a larger message in several chunks."""
        leading = self._leading_message()
        batch = bytearray(b"" if leading is None else _framed(leading))
        while self._outgoing and len(batch) < _CHUNK_BYTES:
            batch += self._outgoing.popleft()
        with memoryview(batch) as view:
            sent = 0
            while sent < len(batch):
                try:
                    sent += self._sock.send(view[sent : sent + _CHUNK_BYTES])
                except BlockingIOError:
                    await _wait_writable(self._sock)
                else:
                    await anyio.lowlevel.checkpoint()


def _framed(message: Any) -> bytes:
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data
