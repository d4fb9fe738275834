"""Stand between a client and the server of S3: record each request, and do harm on demand.

A rule of the test decides about each request, by its head: it passes, or is answered, cut off, or
held. The proxy runs on an event loop of its own, in a thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.client import responses
from urllib.parse import parse_qs, unquote, urlsplit

# A test that waits for something that does not happen fails after these.
SECONDS = 60
_CHUNK = 64 * 1024
# S3 refuses a request whose time differs from its own by more.
_ALLOWED_SKEW = timedelta(minutes=15)


@dataclass(eq=False)
class Request:
    """One request, as the proxy has seen it."""

    method: str
    bucket: str
    key: str
    """Without the bucket; empty: the request is for the bucket itself."""
    query: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    """By name in lower case."""
    arrived: int
    """The number of the moment when its head arrived; moments of all requests are counted on."""
    body_bytes: int = 0
    """The bytes of its body that arrived."""
    status: int | None = None
    """The status of the answer. None: there is none yet, or the request was cut off."""
    answered: int | None = None
    """The number of the moment when the client could read the whole answer."""

    @property
    def part(self) -> int | None:
        """The number of the part that it uploads."""
        return int(self.query["partNumber"]) if "partNumber" in self.query else None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and self.status < 300


def is_upload(request: Request) -> bool:
    """Whether it sends an object, or a part of one."""
    return request.method == "PUT" and bool(request.key)


@dataclass(frozen=True)
class Reply:
    """Answer the request with an error of S3, instead of the server."""

    status: int
    code: str

    def body(self, request: Request) -> bytes:
        if request.method == "HEAD":
            return b""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{self.code}</Code><Message>The proxy says so</Message>"
            f"<Resource>{request.key}</Resource><RequestId>{request.arrived}</RequestId></Error>"
        ).encode()


SLOW_DOWN = Reply(503, "SlowDown")
SKEWED = Reply(403, "RequestTimeTooSkewed")
DENIED = Reply(403, "AccessDenied")
UNKNOWN_KEY = Reply(403, "InvalidAccessKeyId")
EXPIRED = Reply(400, "ExpiredToken")


@dataclass(frozen=True)
class Cut:
    """Close the connection."""

    after_bytes: int | None = None
    """After this many bytes of the body. None: when the server has answered; the answer is lost."""


class Hold:
    """Hold the requests that arrive, before their bodies are read, until the test decides."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._passes: concurrent.futures.Future[bool] = concurrent.futures.Future()

    def wait_until_reached(self) -> None:
        """Block this thread until the first request is held."""
        assert self._reached.wait(SECONDS), "no request came"

    def open(self) -> None:
        """Let all pass, those that come later too."""
        if not self._passes.done():
            self._passes.set_result(True)

    def drop(self) -> None:
        """Close the connections of all, those that come later too."""
        if not self._passes.done():
            self._passes.set_result(False)

    async def passes(self) -> bool:
        self._reached.set()
        return await asyncio.shield(asyncio.wrap_future(self._passes))


Action = Reply | Cut | Hold
Rule = Callable[[Request], "Action | None"]
"""Called in the thread of the proxy with each request; None: the request passes."""


def every(nth: int, action: Action) -> Rule:
    """Return the rule that does this to every ``nth`` request."""
    numbers = itertools.count(1)
    return lambda request: None if next(numbers) % nth else action


def first(count: int, action: Action, to: Callable[[Request], bool] | None = None) -> Rule:
    """Return the rule that does this to the first requests that ``to`` chooses."""
    left = itertools.repeat(action, count)
    return lambda request: next(left, None) if to is None or to(request) else None


def always(action: Action, to: Callable[[Request], bool] | None = None) -> Rule:
    """Return the rule that does this to all requests that ``to`` chooses."""
    return lambda request: action if to is None or to(request) else None


class S3Proxy:
    """A proxy before the server at this port of 127.0.0.1.

    Args:
        server_port: the port of the server.
    """

    def __init__(self, server_port: int) -> None:
        self.rule: Rule | None = None
        self.bytes_per_second: int | None = None
        """The rate at which the proxy reads all bodies together; None: as fast as it can."""
        self.clock_offset = timedelta()
        """How far the clock of the server is before that of this machine."""
        self.requests: list[Request] = []
        """All requests, in the order in which their heads arrived."""
        self.most_at_once = 0
        """The largest number of requests that were in flight at one time."""
        self._server_port = server_port
        self._in_flight = 0
        self._moments = itertools.count()
        self._changed = threading.Condition()
        self._free_at = 0.0  # when the bytes that came so far have passed, at the limited rate
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server | None = None
        self.port = 0
        self._thread = threading.Thread(target=self._loop.run_forever, name="S3 proxy")
        self._thread.start()
        self.listen()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def uploads(self) -> list[Request]:
        """The requests that sent an object or a part of one, in the order of their heads."""
        return [each for each in self.requests if is_upload(each)]

    @property
    def uploaded_bytes(self) -> int:
        """The bytes of the bodies of all uploads, also of those that failed."""
        return sum(each.body_bytes for each in self.uploads)

    def count(self, method: str) -> int:
        return sum(each.method == method for each in self.requests)

    def forget(self) -> None:
        """Begin the records anew."""
        self.requests.clear()
        self.most_at_once = 0

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Block this thread until this holds. It is looked at when a request comes or goes on."""
        with self._changed:
            assert self._changed.wait_for(condition, SECONDS), "it did not come to that"

    def listen(self) -> None:
        """Accept connections, on the same port as before."""
        self._call(self._listen())

    def refuse(self) -> None:
        """Be gone: close all connections, and refuse new ones."""
        self._call(self._refuse())

    def stop(self) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)

    async def _listen(self) -> None:
        self._listening = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=_CHUNK, backlog=512
        )
        self.port = self._listening.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        connections = list(self._connections)
        for each in connections:
            each.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        connection = _Connection(self, reader, writer)
        try:
            while await connection.handle_one():
                pass
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # one of the two has hung up, or the test has ended
        finally:
            self._connections.discard(task)
            connection.abort()

    def _arrive(self, head: bytes) -> Request:
        line, *headers = _lines(head)
        method, target, _ = line.split(" ", 2)
        url = urlsplit(target)
        _, bucket, *key = unquote(url.path).split("/", 2)
        request = Request(
            method,
            bucket,
            "".join(key),
            {k: v[0] for k, v in parse_qs(url.query, keep_blank_values=True).items()},
            _fields(headers),
            next(self._moments),
        )
        with self._changed:
            self.requests.append(request)
            self._in_flight += 1
            self.most_at_once = max(self.most_at_once, self._in_flight)
            self._changed.notify_all()
        return request

    def _receive(self, request: Request, size: int) -> None:
        with self._changed:
            request.body_bytes += size
            self._changed.notify_all()

    def _answer(self, request: Request, status: int) -> None:
        with self._changed:
            request.status = status
            request.answered = next(self._moments)
            self._changed.notify_all()

    def _leave(self) -> None:
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    def _decide(self, request: Request) -> Action | None:
        action = self.rule(request) if self.rule is not None else None
        if action is None and self.clock_offset and "x-amz-date" in request.headers:
            said = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
            if abs(said.replace(tzinfo=timezone.utc) - self._now()) > _ALLOWED_SKEW:
                return SKEWED
        return action

    def _now(self) -> datetime:
        return datetime.now(timezone.utc) + self.clock_offset

    async def _pass_at_rate(self, size: int) -> None:
        if self.bytes_per_second is None:
            return
        now = self._loop.time()
        self._free_at = max(self._free_at, now) + size / self.bytes_per_second
        await asyncio.sleep(self._free_at - now)


@dataclass
class _Connection:
    """One connection of a client, and the one to the server that belongs to it."""

    proxy: S3Proxy
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    _server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = field(
        default=None, init=False
    )

    def abort(self) -> None:
        self.writer.transport.abort()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._server is not None:
            self._server[1].transport.abort()
            self._server = None

    async def handle_one(self) -> bool:
        """Handle one request; return whether the connection stays open."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        request = self.proxy._arrive(head)
        try:
            return await self._handle(request, head)
        finally:
            self.proxy._leave()

    async def _handle(self, request: Request, head: bytes) -> bool:
        action = self.proxy._decide(request)
        if isinstance(action, Hold) and not await action.passes():
            return False
        if isinstance(action, Reply):
            return await self._reply(request, action)
        if "expect" in request.headers:
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await self._read_body(
            request, action.after_bytes if isinstance(action, Cut) else None
        )
        if body is None:
            return False
        answer = await self._ask_server(request, head, body)
        if isinstance(action, Cut):
            return False
        await self._write_answer(request, *answer)
        return True

    async def _read_body(self, request: Request, after_bytes: int | None) -> bytes | None:
        """Return the body; None: it was cut off.

        The server gets no body that is not whole: it would keep the part that came. S3 does not.
        """
        body = []
        async for chunk in _chunks(self.reader, request.headers):
            if after_bytes is not None and request.body_bytes + len(chunk) >= after_bytes:
                self.proxy._receive(request, after_bytes - request.body_bytes)
                return None
            await self.proxy._pass_at_rate(len(chunk))
            self.proxy._receive(request, len(chunk))
            body.append(chunk)
        return b"".join(body)

    async def _ask_server(
        self, request: Request, head: bytes, body: bytes
    ) -> tuple[str, list[str], bytes]:
        """Send the request to the server; return the answer: first line, headers and body."""
        if self._server is not None and self._server[0].at_eof():
            self._hang_up()  # the server has closed it since the last request
        if self._server is None:
            self._server = await asyncio.open_connection("127.0.0.1", self.proxy._server_port)
        from_server, to_server = self._server
        line, *headers = _lines(head)
        size = [f"Content-Length: {len(body)}"] if body or request.method in ("PUT", "POST") else []
        to_server.write(_head(line, [*_without(headers, _OF_THE_CONNECTION), *size]) + body)
        await to_server.drain()
        status = 100
        while status < 200:
            line, *headers = _lines(await from_server.readuntil(b"\r\n\r\n"))
            status = int(line.split(" ", 2)[1])
        fields = _fields(headers)
        if request.method == "HEAD" or status in (204, 304):
            kept = _without(headers, _OF_THE_CONNECTION - {"content-length"})
            content = b""
        else:
            content = b"".join([chunk async for chunk in _chunks(from_server, fields)])
            kept = [*_without(headers, _OF_THE_CONNECTION), f"Content-Length: {len(content)}"]
        if fields.get("connection", "").lower() == "close":
            self._hang_up()
        return line, _without(kept, {"date"}), content

    async def _reply(self, request: Request, reply: Reply) -> bool:
        stays = "expect" not in request.headers  # the client does not send the body it asked about
        if stays:
            async for chunk in _chunks(self.reader, request.headers):
                self.proxy._receive(request, len(chunk))
        body = reply.body(request)
        headers = [f"Content-Length: {len(body)}", "Content-Type: application/xml"]
        line = f"HTTP/1.1 {reply.status} {responses[reply.status]}"
        await self._write_answer(request, line, headers, body)
        return stays

    async def _write_answer(
        self, request: Request, line: str, headers: list[str], body: bytes
    ) -> None:
        # Before the client can act on it: what the client sends next has a later moment.
        self.proxy._answer(request, int(line.split(" ", 2)[1]))
        date = format_datetime(self.proxy._now(), usegmt=True)
        self.writer.write(_head(line, [*headers, f"Date: {date}"]) + body)
        await self.writer.drain()


# They say how one connection carries a message, and the other one may do it otherwise.
_OF_THE_CONNECTION = {"content-length", "transfer-encoding", "connection", "expect", "trailer"}


def _lines(head: bytes) -> list[str]:
    return head.decode("latin-1").rstrip("\r\n").split("\r\n")


def _head(line: str, headers: list[str]) -> bytes:
    return "\r\n".join([line, *headers, "", ""]).encode("latin-1")


def _fields(headers: list[str]) -> dict[str, str]:
    """Return the headers by name in lower case."""
    return {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in headers)}


def _without(headers: list[str], names: set[str]) -> list[str]:
    return [each for each in headers if each.partition(":")[0].lower() not in names]


async def _chunks(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """Yield the body of a message piece by piece."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass  # a trailer
        return
    left = int(headers.get("content-length", 0))
    while left:
        chunk = await reader.read(min(left, _CHUNK))
        if not chunk:
            raise EOFError
        left -= len(chunk)
        yield chunk
