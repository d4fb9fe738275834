"""A terminal that shows the output of a process as a user sees it."""

from __future__ import annotations

import codecs
import fcntl
import io
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Callable
from typing import TextIO

_TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b([78D])|([\r\n])|(.)", re.DOTALL)


class Seen:
    """The screen and its history. Sequences that the package does not write are an error."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns = columns
        self.lines = lines
        self.history: list[str] = []
        """Scrolled off the top."""
        self._rows = [""] * lines
        self._row = self._column = 0
        self._saved = (0, 0)
        self._begun = ""
        """The beginning of a sequence whose end is not there yet."""

    @property
    def rows(self) -> list[str]:
        """Return the rows without the empty ones at the end."""
        rows = [row.rstrip() for row in self._rows]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    @property
    def text(self) -> list[str]:
        return [row.rstrip() for row in self.history] + self.rows

    def write(self, text: str) -> None:
        text = self._begun + text
        begun = re.search(r"\x1b(\[[0-9;?]*)?$", text)
        self._begun = begun[0] if begun else ""
        text = text.removesuffix(self._begun)
        for number, letter, short, line, printed in _TOKEN.findall(text):
            if letter:
                self._control(letter, number)
            elif short == "7":
                self._saved = self._row, self._column
            elif short == "8":
                self._row, self._column = self._saved
            elif short == "D" or line == "\n":
                self._down()
            elif line == "\r":
                self._column = 0
            else:
                assert printed >= " ", f"control character {printed!r}"
                self._put(printed)

    def _put(self, letter: str) -> None:
        row = self._rows[self._row].ljust(self._column)
        assert self._column < self.columns, "wider than the terminal"
        self._rows[self._row] = row[: self._column] + letter + row[self._column + 1 :]
        self._column += 1

    def _down(self) -> None:
        if self._row < self.lines - 1:
            self._row += 1
        else:
            self.history.append(self._rows.pop(0))
            self._rows.append("")

    def _control(self, letter: str, number: str) -> None:
        if letter == "A":
            self._row = max(0, self._row - int(number or 1))
        elif letter in "KJ":
            assert not number
            self._rows[self._row] = self._rows[self._row][: self._column]
            if letter == "J":
                self._rows[self._row + 1 :] = [""] * (self.lines - self._row - 1)
        else:
            assert letter == "m", f"control sequence {number}{letter}"


class PseudoTerminal:
    """Both ends of a terminal. Text written to ``stream`` is shown once ``settled`` returns."""

    def __init__(self, columns: int = 80, lines: int = 24, *, reads: bool = True) -> None:
        self.master, self.slave = pty.openpty()
        binary = open(self.slave, "wb", closefd=False)  # noqa: SIM115  # closed by close()
        self.stream: TextIO = io.TextIOWrapper(binary, "utf-8", line_buffering=True)
        self.resize(columns, lines)
        self.seen = Seen(columns, lines)
        self.written = ""
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        if reads:
            self._thread.start()

    def fill(self) -> None:
        """Fill the buffer: the terminal accepts no more output, as after Ctrl-S."""
        os.set_blocking(self.slave, False)
        try:
            while os.write(self.slave, b"." * 64):
                pass
        except BlockingIOError:
            pass
        os.set_blocking(self.slave, True)

    def hang_up(self) -> None:
        """Close the other end: each later write fails."""
        os.dup2(os.open(os.devnull, os.O_RDWR), self.master)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def wait_until(self, shown: Callable[[Seen], bool]) -> None:
        """Wait until the screen fulfils a condition."""
        with self._changed:
            assert self._changed.wait_for(lambda: shown(self.seen), timeout=30), self.seen.text

    def close(self) -> Seen:
        """Hang up and return the last screen."""
        self.stream.close()
        os.close(self.slave)
        self._thread.join()
        os.close(self.master)
        return self.seen

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")()
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # Linux reports the end by this error
                return
            if not data:
                return
            text = decoder.decode(data)
            with self._changed:
                self.written += text
                self.seen.write(text)
                self._changed.notify_all()
