"""Serve a remote of DVC by HTTP on this machine: PUT, HEAD and GET of objects in memory."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class HttpRemote:
    """The server. Its attributes may be changed while it runs."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        """By path, without the first slash."""
        self.puts: list[str] = []
        self.refusal: int | None = None
        """The status of each answer; None: requests succeed."""
        self.tells_size = True
        self.body_began = threading.Event()
        """Set when the first part of the body of a PUT has arrived."""
        self.may_read_on = threading.Event()
        """Once it is cleared, the rest of a body is not read until it is set."""
        self.may_read_on.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.server_port}/dvc"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        self.may_read_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler_of(remote: HttpRemote) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = b""
            while (line := self.rfile.readline()) != b"0\r\n":  # aiohttp sends chunks
                if not line:  # cut off
                    self.close_connection = True
                    return
                body += self.rfile.read(int(line, 16))
                self.rfile.readline()
                remote.body_began.set()
                remote.may_read_on.wait()
            self.rfile.readline()
            if not self._refused():
                remote.objects[self.path.lstrip("/")] = body
                remote.puts.append(self.path.lstrip("/"))
                self._answer(201, b"")

        def do_HEAD(self) -> None:
            self._find(with_body=False)

        def do_GET(self) -> None:
            self._find(with_body=True)

        def _find(self, *, with_body: bool) -> None:
            if self._refused():
                return
            body = remote.objects.get(self.path.lstrip("/"))
            if body is None:
                self._answer(404, b"")
            else:
                self._answer(200, body, with_body=with_body, tells_size=remote.tells_size)

        def _refused(self) -> bool:
            if remote.refusal is not None:
                self._answer(remote.refusal, b"")
            return remote.refusal is not None

        def _answer(
            self, status: int, body: bytes, *, with_body: bool = True, tells_size: bool = True
        ) -> None:
            self.send_response(status)
            if tells_size:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write no line for each request."""

    return Handler
