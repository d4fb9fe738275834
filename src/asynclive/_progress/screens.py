"""Where progress is drawn: a terminal, a notebook, or a log that takes only whole lines.

A terminal's lines are *below* the cursor, which stays where the program writes. So what it prints
comes where it would without them, a line that is not complete too; they are out of its way while
it does. Nothing stays behind that a terminal would have to be reset from, whenever it is killed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TextIO

# What an unwritable terminal says: it hung up, is closed, or cannot write such letters.
UNWRITABLE = (OSError, ValueError)
# How often a log gets a line (seconds).
LOG_SECONDS = 10.0


Line = list[tuple[str, str]]
"""Texts one after the other, each with the name of its style."""


def plain(line: Line) -> str:
    """The text alone."""
    return "".join(text for text, _ in line).rstrip()


class Screen(Protocol):
    """All of it blocks, and is called in the thread that draws."""

    interval: float
    """Between two drawings (seconds)."""

    def begin(self) -> None:
        """Something is to be drawn from now on."""
        ...

    def size(self) -> tuple[int, int]:
        """Columns and lines there are."""
        ...

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these, in the place of the last ones."""
        ...

    def erase(self) -> None:
        """Show nothing, for the time being."""
        ...

    def finish(self, summary: str) -> None:
        """Leave one line, or none where that is empty."""
        ...


class Notebook:
    """Draws in a notebook's output cell.

    Args:
        to_html: makes HTML of lines.
    """

    interval = 0.25

    def __init__(self, to_html: Callable[[Sequence[Line]], str]) -> None:
        self._to_html = to_html
        self._shown: Any = None

    def begin(self) -> None:
        pass

    def size(self) -> tuple[int, int]:
        return 100, 20

    def draw(self, lines: Sequence[Line]) -> None:
        self._show({"text/html": self._to_html(lines), "text/plain": "\n".join(map(plain, lines))})

    def erase(self) -> None:
        if self._shown is not None:
            self._show({"text/html": "", "text/plain": ""})

    def finish(self, summary: str) -> None:
        if summary or self._shown is not None:
            self._show({"text/plain": summary})

    def _show(self, data: dict[str, str]) -> None:
        from IPython.display import display

        if self._shown is None:
            self._shown = display(data, raw=True, display_id=True)
        else:
            self._shown.update(data, raw=True)


class Log:
    """Writes a line now and then, where nothing can be written over.

    Args:
        stream: where to.
    """

    interval = LOG_SECONDS

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def begin(self) -> None:
        pass

    def size(self) -> tuple[int, int]:
        return 120, 1

    def draw(self, lines: Sequence[Line]) -> None:
        self.finish(plain(lines[-1]))

    def erase(self) -> None:
        pass

    def finish(self, summary: str) -> None:
        if summary:
            self._stream.write(f"{summary}\n")
            self._stream.flush()


def is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def can_draw(stream: Any) -> bool:
    """Whether it is a terminal whose cursor can be moved."""
    if not is_terminal(stream) or os.environ.get("TERM", "") in ("dumb", "unknown"):
        return False
    try:
        os.get_terminal_size(stream.fileno())
    except UNWRITABLE:
        return False
    if sys.platform == "win32":
        from rich._windows import get_windows_console_features

        return get_windows_console_features().vt
    return True


def in_notebook() -> bool:
    """Whether what is displayed lands in a notebook's cell."""
    shell = sys.modules.get("IPython")
    if shell is None:
        return False
    return type(shell.get_ipython()).__name__ in ("ZMQInteractiveShell", "Shell")  # or Colab's
