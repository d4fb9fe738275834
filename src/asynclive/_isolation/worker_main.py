"""The worker process of ``AsyncLive(isolation="process")``: an AsyncLive that does as it is told.

It takes the messages in the order in which they come, so that the order of calls is kept. At
the end of the messages, however that came about, it cancels what is in flight, leaves its
block, and ends. Told that the parent's block was left without an exception, it leaves its own in
that way.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import pickle
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import anyio

from .._api.async_live import AsyncLive
from .._calls.call import ENDS, Call, Stage
from .._errors import InvalidMetadataError
from .._instrumentation.events import ArtifactCommitted, ArtifactEvent, ArtifactStaging
from .._instrumentation.sampler import INTERVAL
from .._workers.os_priority import give_precedence, take_long_turns
from .channel import Channel
from .live_proxy import LiveProxy
from .log_forwarding import records_sent_to
from .messages import (
    Advanced,
    Cancel,
    Committed,
    Done,
    Entered,
    Leave,
    Left,
    Level,
    Log,
    Numbers,
    Released,
    Sampled,
    Watch,
)
from .portable_errors import with_causes

logger = logging.getLogger(__name__)


class _EndedError(Exception):
    """There is nobody to work for any more, or he has left his block by an exception."""


def serve() -> None:
    """Work for another process, to the end of its messages: what the worker process does.

    Standard input says which process that is, where its sockets are, the arguments of
    ``AsyncLive``, and from which level on it wants asynclive's log records. Where there is a
    Live, there is a second socket.
    """
    parent, addresses, settings, level = pickle.load(sys.stdin.buffer)
    give_precedence()
    take_long_turns()
    if sys.platform == "win32":
        socks = [socket.fromshare(address) for address in addresses]
    else:
        socks = [socket.socket(fileno=address) for address in addresses]
    anyio.run(_Worker(settings, *socks).run, parent, level)
    # Everything is closed. To take DVC apart takes the interpreter as long as to leave the block.
    sys.stderr.flush()
    os._exit(0)


class _Worker:
    def __init__(
        self, settings: dict[str, Any], sock: socket.socket, live: socket.socket | None = None
    ) -> None:
        self._live = AsyncLive(**settings, isolation="thread", progress=False)  # the parent shows
        self._parents_live = None if live is None else LiveProxy(live)
        if self._parents_live is not None:
            self._live._experiment = self._parents_live
        self._sock = sock
        self._socks = [sock] if live is None else [sock, live]
        self._channel = Channel(self._numbers)
        # The calls in flight.
        self._calls: dict[int, Call] = {}
        # Of these, for each number that events have, that of the parent.
        self._number_of: dict[int, int] = {}
        self._said: Numbers | None = None
        self._busy = anyio.Event()

    async def run(self, parent: int, level: int) -> None:
        self._channel.connect(self._sock)
        with records_sent_to(self._channel, level), _end_seen_of(parent, self._socks):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._channel.run)
                async with anyio.create_task_group() as timer:
                    timer.start_soon(self._count_aloud)
                    # Around the block, which ends each call, however it is left.
                    async with anyio.create_task_group() as self._followers:
                        errors = await self._work()
                    timer.cancel_scope.cancel()
                self._channel.post(Left(errors))
                self._channel.end()
        self._channel.close()

    async def _work(self) -> list[Exception]:
        """What happens in the block; the error of entering or leaving it, and its causes."""
        try:
            async with self._live:
                live = self._live
                place = None if self._parents_live is None else self._parents_live.place
                # DVC and all it imports stay to the end. Else the collector goes through them again
                # and again while there are many files, and nothing else runs meanwhile.
                gc.freeze()
                self._channel.post(Entered(live._engine.real_root, live.exp_name, place))
                await self._take_messages()
        except _EndedError:
            pass
        except Exception as error:
            return with_causes(error)
        return []

    async def _take_messages(self) -> None:
        """Do as they say until the block is to be left."""
        while True:
            try:
                message = await self._channel.receive()
            except EOFError:
                raise _EndedError from None
            if isinstance(message, Log):
                self._accept(message)
            elif isinstance(message, Cancel):
                if message.call in self._calls:  # or it has ended meanwhile
                    self._calls[message.call].scope.cancel()
            elif isinstance(message, Watch):
                self._live._hub.listen(self._tell)
            elif isinstance(message, Level):
                logging.getLogger("asynclive").setLevel(message.level)
            elif isinstance(message, Leave):
                self._live._experiment.include(message.files)
                return

    def _tell(self, event: ArtifactEvent) -> None:
        """Hand on what is not told otherwise: the parent makes events of its own."""
        number = self._number_of.get(event.call)
        if number is None:  # not even accepted
            return
        if isinstance(event, ArtifactStaging):
            self._channel.post(Sampled(number, event.files_done, event.bytes_done))
        elif isinstance(event, ArtifactCommitted):
            self._channel.post(Committed(number, event.md5))

    def _accept(self, message: Log) -> None:
        """Nothing is awaited: the next message comes after this one in the order of calls."""
        number = message.call
        try:
            try:
                request = pickle.loads(message.request)
            except Exception as error:
                raise InvalidMetadataError("meta", f"cannot be read elsewhere: {error}") from error
            call = self._live._accept_request(request, **message.options)
        except Exception as error:
            self._channel.post(Done(number, "failed", None, with_causes(error), None))
            return
        self._calls[number] = call
        self._busy.set()
        self._number_of[call.number] = number
        watch = call.watch

        def advanced(call: Call, before: Stage) -> None:
            if watch is not None:
                watch(call, before)
            if call.stage not in ENDS:  # which is said with what came of it
                done = call.progress
                totals, tracked = (done.bytes_total, done.files_total), (done.size, done.nfiles)
                self._channel.post(Advanced(number, call.stage, totals, tracked))

        call.watch = advanced
        self._followers.start_soon(self._follow, number, call)

    async def _follow(self, number: int, call: Call) -> None:
        """Say what becomes of the call."""
        call.told = True  # of its error, who waits elsewhere
        await call.released.wait()
        if not call.done.is_set():
            self._channel.post(Released(number))
            await call.done.wait()
        del self._calls[number], self._number_of[call.number]
        successor = next((n for n, c in self._calls.items() if c is call.successor), None)
        last = call.last if successor is None else call
        logged = last.logged and replace(last.logged, desc=None, labels=None, meta=None)
        errors = [] if last.error is None else with_causes(last.error)
        self._channel.post(Done(number, call.stage, logged, errors, successor))

    async def _count_aloud(self) -> None:
        """Say what is counted while calls are in flight, also where nothing else is to be said.

        A timer, as there is one for events: nothing waits for it.
        """
        while True:
            await self._busy.wait()
            while self._calls:
                await anyio.sleep(INTERVAL)
                numbers = self._numbers()
                if numbers is not None:
                    self._channel.post(numbers)
            self._busy = anyio.Event()

    def _numbers(self) -> Numbers | None:
        """What has been counted, if that is not what was said last."""
        now = self._live.statistics()
        numbers = Numbers(
            busy_workers=now.busy_workers,
            files_staged=now.files_staged,
            bytes_staged=now.bytes_staged,
            files_unchanged=now.files_unchanged,
            bytes_unchanged=now.bytes_unchanged,
            group_sizes=dict(now.group_sizes),
        )
        if numbers == self._said:
            return None
        self._said = numbers
        return numbers


@contextmanager
def _end_seen_of(parent: int, socks: Sequence[socket.socket]) -> Iterator[None]:
    """Let the messages end with the parent, also where a child that it has forked lives on.

    Such a child has the other ends of the sockets open, as it has all that was open. On Linux a
    process can be waited for by others than its parent.
    """
    try:
        process = os.pidfd_open(parent) if hasattr(os, "pidfd_open") else None
    except OSError:  # an older system, or it has ended
        process = None
    if process is None:
        yield
        return
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(process)  # it would be told of that again and again
        _end_messages(socks)

    loop.add_reader(process, ended)
    try:
        if os.getppid() != parent:  # it had ended, and its number has another process
            _end_messages(socks)
        yield
    finally:
        loop.remove_reader(process)
        os.close(process)


def _end_messages(socks: Sequence[socket.socket]) -> None:
    for sock in socks:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RD)
