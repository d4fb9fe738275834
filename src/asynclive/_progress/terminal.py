"""Draws lines *below* the cursor of a terminal.

The cursor stays where the program writes. Therefore the output of the program appears where it
would without the lines, even if a line of it is not complete. The lines are removed while the
program writes. Whenever the process is killed, the terminal needs no reset.
"""

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
        stream: the terminal.
        to_ansi: returns lines with escape sequences.
    """

    interval = 0.1

    def __init__(self, stream: TextIO, to_ansi: Callable[[Sequence[Line]], list[str]]) -> None:
        self._stream = stream
        self._fd = stream.fileno()
        self._to_ansi = to_ansi
        self._process = os.getpid()
        # Protects the state of the terminal from the drawing thread and from threads that print.
        # Reentrant, because a signal handler may print while its thread prints.
        self._lock = threading.RLock()
        self._frame = b""
        """The drawing that is shown, as bytes; empty if there is none."""
        self._at_line_start = True
        """Whether the last output of the program ended with a newline."""
        self._size: tuple[int, int] | None = None
        """The size of the terminal at the last drawing."""

    def begin(self) -> None:
        """Replace stdout and stderr, so that the output of the program appears above the lines."""
        self._size = None
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if not isinstance(stream, StreamAboveLines) and is_terminal(stream):
                setattr(sys, name, StreamAboveLines(stream, self))

    def size(self) -> tuple[int, int]:
        columns, lines = os.get_terminal_size(self._fd)
        # One line for the program's output, and one that shows where that line began.
        return columns or 80, max(0, (lines or 24) - 2)

    def draw(self, lines: Sequence[Line]) -> None:
        if not self._is_in_foreground():
            return
        count = len(lines)
        size = self.size()
        # A terminal that became narrower may have wrapped old lines into the line of the cursor.
        resized = self._size is not None and size != self._size and self._at_line_start
        self._size = size
        frame = "".join(
            (
                # Scroll if the lines do not fit below the cursor: "index" (ESC D) moves down,
                # scrolls at the end of the screen, and keeps the column.
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
                frame, self._frame = self._frame, b""
                if frame:
                    self._write(b"\x1b[J")
        finally:
            self._restore_streams()

    def _restore_streams(self) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            # If the program has replaced the stream in between, leave it. The wrapped stream
            # then only passes its output on.
            if isinstance(stream, StreamAboveLines) and stream.terminal is self:
                setattr(sys, name, stream.stream)
                try:
                    stream.stream.flush()  # write an incomplete line before the next output
                except UNWRITABLE:
                    pass

    def finish(self, summary: str) -> None:
        self.erase()
        if summary:
            # Overwrite a "^C" that the terminal has echoed, but not the program's last line.
            start = "\r" if self._at_line_start else "\r\n"
            self._write(f"{start}{summary}\x1b[K\r\n".encode("utf-8", "replace"))

    def print(self, write: Callable[[], Any], text: str | None) -> Any:
        """Call ``write`` for the program's output ``text``, without the lines in its way."""
        if os.getpid() != self._process:  # in a fork, no thread may exist to release the lock
            return write()
        with self._lock:
            if not self._frame:
                return self._write_and_note_line_end(write, text)
            self._write_or_ignore(b"\x1b[J")
            result = self._write_and_note_line_end(write, text)
            if text is not None and self._at_line_start:
                # Draw again at once: the lines would flicker until the drawing thread does.
                self._write_or_ignore(self._frame)
            return result

    def _write_and_note_line_end(self, write: Callable[[], Any], text: str | None) -> Any:
        result = write()
        if text:
            self._at_line_start = text.endswith("\n")
        return result

    def _write_or_ignore(self, data: bytes) -> None:
        try:
            self._write(data)
        except UNWRITABLE:
            pass  # the drawing thread gets the same error and handles it

    def _is_in_foreground(self) -> bool:
        """Return whether this process is in the terminal's foreground, and not a stopped job."""
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except (AttributeError, OSError):  # on Windows, or not the controlling terminal
            return True

    def _write(self, data: bytes) -> None:
        if sys.platform == "win32":
            self._stream.write(data.decode())
            self._stream.flush()
            return
        # Not through the stream: a thread that a stopped terminal blocks would hold the lock of
        # the stream when the interpreter exits.
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                return  # another program made the terminal non-blocking; draw again next time


class StreamAboveLines:
    """A stream of the program to a terminal that has lines below its cursor."""

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
