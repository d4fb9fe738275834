"""A relay before a server, which counts the bytes that clients send, and can stop passing them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK = 256 * 1024


class ByteRelay:
    """Passes connections on to a port of 127.0.0.1.

    Args:
        server_port: the port of the server.
        stop_after: the bytes of clients after which nothing passes any more; None: no limit.
    """

    def __init__(self, server_port: int, stop_after: int | None = None) -> None:
        self.sent_bytes = 0
        self.first_at = self.last_at = 0.0  # of the clock ``time.perf_counter``
        self.port = 0
        self.stopped = threading.Event()
        self._server_port = server_port
        self._stop_after = stop_after
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count_anew(self) -> None:
        """Count from here, without a limit. Connections that were stopped stay so."""
        self._stop_after = None
        self.sent_bytes = 0

    async def listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writers = [writer]
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._server_port)
            writers.append(forth)
            await asyncio.gather(self._forward(reader, forth), _pump(back, writer))
        except (OSError, asyncio.CancelledError):
            pass  # one of the two has hung up, or the run has ended
        finally:
            self._tasks.discard(task)
            for each in writers:
                each.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            now = time.perf_counter()
            self.first_at = self.first_at or now
            self.last_at = now
            self.sent_bytes += len(chunk)
            if self._stop_after is not None and self.sent_bytes >= self._stop_after:
                self.stopped.set()
                await asyncio.Event().wait()  # until the run ends
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    writer.transport.abort()


@contextmanager
def relaying(server_port: int, stop_after: int | None = None) -> Iterator[ByteRelay]:
    """Run a relay in a thread for the block."""
    relay = ByteRelay(server_port, stop_after)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="byte relay")
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(relay.listen(), loop).result()
        yield relay
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(relay.close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
