"""Lines below the cursor of a terminal."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from .screens import UNWRITABLE, Line, is_terminal


class Terminal:
    """Draws below the cursor.

    Args:
        stream: a terminal; nothing else is written to.
        to_ansi: makes of lines what a terminal takes.
    """

    interval = 0.1

    def __init__(self, stream: TextIO, to_ansi: Callable[[Sequence[Line]], list[str]]) -> None:
        self._stream = stream
        self._fd = stream.fileno()
        self._to_ansi = to_ansi
        self._process = os.getpid()
        # Protects what the terminal shows, among the thread that draws and those that print. A
        # signal handler may print in the middle of a print.
        self._lock = threading.RLock()
        self._frame = b""
        """What is shown, as it was written; empty: nothing."""
        self._complete = True
        """What the program wrote last ended its line."""
        self._size: tuple[int, int] | None = None
        """When it was drawn last."""

    def begin(self) -> None:
        """Have the program's own lines written above."""
        self._size = None
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if not isinstance(stream, Printed) and is_terminal(stream):
                setattr(sys, name, Printed(stream, self))

    def size(self) -> tuple[int, int]:
        columns, lines = os.get_terminal_size(self._fd)
        # One for the program, and one that shows where its line was.
        return columns or 80, max(0, (lines or 24) - 2)

    def draw(self, lines: Sequence[Line]) -> None:
        if not self._in_front():
            return
        count = len(lines)
        size = self.size()
        # Lines that were wider than it is now may have been wrapped into that of the cursor.
        resized = self._size is not None and size != self._size and self._complete
        self._size = size
        frame = "".join(
            (
                # Make room: "index" scrolls at the end of the screen, and keeps the column.
                "\x1bD" * count,
                f"\x1b[{count}A",
                "\x1b7",
                *(f"\r\n{line}\x1b[K" for line in self._to_ansi(lines)),
                "\x1b[J\x1b8",
            )
        )
        with self._lock:
            self._frame = frame.encode("utf-8", "replace")
            self._write(b"\r\x1b[K" + self._frame if resized else self._frame)

    def erase(self) -> None:
        try:
            with self._lock:
                shown, self._frame = self._frame, b""
                if shown:
                    self._write(b"\x1b[J")
        finally:
            self._give_back()

    def _give_back(self) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            # Whoever has put another in its place since gets that; it does nothing any more.
            if isinstance(stream, Printed) and stream.terminal is self:
                setattr(sys, name, stream.stream)
                try:
                    stream.stream.flush()  # half a line, before what comes next
                except UNWRITABLE:
                    pass

    def finish(self, summary: str) -> None:
        self.erase()
        if summary:
            # Over a "^C" that the terminal has put there, and after a line of the program's.
            start = "\r" if self._complete else "\r\n"
            self._write(f"{start}{summary}\x1b[K\r\n".encode("utf-8", "replace"))

    def print(self, write: Callable[[], Any], text: str | None) -> Any:
        """Let the program write: the lines are out of its way."""
        if os.getpid() != self._process:  # a fork; whoever held the lock is not in it
            return write()
        with self._lock:
            if not self._frame:
                return self._written(write, text)
            self._quietly(b"\x1b[J")
            written = self._written(write, text)
            if text is not None and self._complete:
                self._quietly(self._frame)  # or they would be seen to flicker
            return written

    def _written(self, write: Callable[[], Any], text: str | None) -> Any:
        written = write()
        if text:
            self._complete = text.endswith("\n")
        return written

    def _quietly(self, data: bytes) -> None:
        try:
            self._write(data)
        except UNWRITABLE:
            pass  # the thread that draws will find out

    def _in_front(self) -> bool:
        """Whether the terminal is this program's now: not stopped or in the background."""
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except (AttributeError, OSError):  # not on Windows; not the terminal of the session
            return True

    def _write(self, data: bytes) -> None:
        if sys.platform == "win32":
            self._stream.write(data.decode())
            self._stream.flush()
            return
        # Not through the stream, whose lock a thread that is stuck in a stopped terminal would
        # keep when the interpreter ends.
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                return  # somebody else wants no waiting; the next drawing is whole again


class Printed:
    """A terminal that the program writes to, while another has lines below the cursor."""

    def __init__(self, stream: TextIO, terminal: Terminal) -> None:
        self.stream = stream
        self.terminal = terminal

    def write(self, text: str) -> int:
        written: int = self.terminal.print(lambda: self.stream.write(text), text)
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self.terminal.print(self.stream.flush, None)

    def __iter__(self) -> Any:
        return iter(self.stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
