"""The screens that progress is drawn on: a notebook, a log file, or a terminal (``terminal``)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TextIO

# The errors of a stream that cannot be written to: it hung up, is closed, or has an encoding that
# lacks the letters.
UNWRITABLE = (OSError, ValueError)
# Seconds between two lines of a log file.
LOG_INTERVAL_SECONDS = 10.0


Line = list[tuple[str, str]]
"""The texts of a line, each with the name of its style."""


def plain_text(line: Line) -> str:
    """Return the text of a line without its styles."""
    return "".join(text for text, _ in line).rstrip()


class Screen(Protocol):
    """A place to draw lines on. All methods block; the drawing thread calls them."""

    interval: float
    """Seconds between two drawings."""

    def begin(self) -> None:
        """Prepare for drawing."""
        ...

    def size(self) -> tuple[int, int]:
        """Return the number of columns and lines that are available."""
        ...

    def draw(self, lines: Sequence[Line]) -> None:
        """Show ``lines`` in place of those of the last drawing."""
        ...

    def erase(self) -> None:
        """Remove the drawing. Another may follow."""
        ...

    def finish(self, summary: str) -> None:
        """Remove the drawing and write ``summary``, unless it is empty."""
        ...


class Notebook:
    """Draws in an output cell of a notebook.

    Args:
        to_html: returns lines as HTML.
    """

    interval = 0.25

    def __init__(self, to_html: Callable[[Sequence[Line]], str]) -> None:
        self._to_html = to_html
        self._display_handle: Any = None

    def begin(self) -> None:
        pass

    def size(self) -> tuple[int, int]:
        return 100, 20

    def draw(self, lines: Sequence[Line]) -> None:
        self._show(
            {
                "text/html": self._to_html(lines),
                "text/plain": "\n".join(map(plain_text, lines)),
            }
        )

    def erase(self) -> None:
        if self._display_handle is not None:
            self._show({"text/html": "", "text/plain": ""})

    def finish(self, summary: str) -> None:
        if summary or self._display_handle is not None:
            self._show({"text/plain": summary})

    def _show(self, data: dict[str, str]) -> None:
        from IPython.display import display

        if self._display_handle is None:
            self._display_handle = display(data, raw=True, display_id=True)
        else:
            self._display_handle.update(data, raw=True)


class Log:
    """Writes the sums as new lines at long intervals, for streams that are no terminal.

    Args:
        stream: the stream to write to.
    """

    interval = LOG_INTERVAL_SECONDS

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def begin(self) -> None:
        pass

    def size(self) -> tuple[int, int]:
        return 120, 1

    def draw(self, lines: Sequence[Line]) -> None:
        self.finish("\n".join(map(plain_text, lines)))

    def erase(self) -> None:
        pass

    def finish(self, summary: str) -> None:
        if summary:
            self._stream.write(f"{summary}\n")
            self._stream.flush()


def is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # the stream is None or closed
        return False


def can_draw(stream: Any) -> bool:
    """Return whether ``stream`` is a terminal whose cursor can be moved."""
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
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return False
    return type(ipython.get_ipython()).__name__ in ("ZMQInteractiveShell", "Shell")  # or Colab's
