"""Draws progress from events, in a thread of its own.

The event loop only counts. The thread sleeps while no artifact is in flight, and waits a moment
before it draws, so that short work does not make the screen flash. Closing waits for the thread
only for a limited time: a stopped terminal blocks every write.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from logging import getLogger
from typing import TYPE_CHECKING, TextIO

from .._instrumentation.events import ArtifactEvent
from .artifact_tally import Tally, format_counts
from .screens import UNWRITABLE, Line, Log, Notebook, Screen, can_draw, in_notebook
from .terminal import Terminal
from .units import format_duration, format_size

if TYPE_CHECKING:
    from .bars import Bars

logger = getLogger(__name__)

# Bursts that end sooner are not drawn. Only the summary has them.
FIRST_DRAWING_AFTER_SECONDS = 0.3
# How long close() waits for the summary to be written. A stopped terminal blocks that write.
_CLOSE_TIMEOUT_SECONDS = 1.0


class Progress:
    """Shows the artifacts in flight on a screen, and a summary at the end.

    Args:
        make_screen: returns the screen; its argument styles lines for that screen.
    """

    def __init__(self, make_screen: Callable[[LazyBars], Screen]) -> None:
        self._bars = LazyBars()
        self._screen = make_screen(self._bars)
        self._tally = Tally()
        self._busy = threading.Event()
        self._closing = threading.Event()
        # A daemon, because a stopped terminal must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="asynclive-progress", daemon=True)

    def start(self) -> None:
        """Start the drawing thread."""
        try:
            self._thread.start()
        except RuntimeError as error:  # the system refuses another thread
            logger.warning("Progress is not shown: %s.", error)

    def on_event(self, event: ArtifactEvent) -> None:
        """Count an event. Called on the event loop."""
        self._tally.update(event)
        if not self._busy.is_set():
            self._busy.set()

    def close(self) -> None:
        """End the drawing and write the summary. Blocks, for at most a second."""
        self._closing.set()
        self._busy.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_TIMEOUT_SECONDS)

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._busy.wait()
                self._show_burst()
                # An artifact may have begun since the burst ended, and set the event before it
                # is cleared here. Therefore look at the rows after that.
                self._busy.clear()
                if self._tally.rows:
                    self._busy.set()
            self._screen.finish(format_summary(self._tally))
        except UNWRITABLE as error:
            logger.debug("Progress is no longer shown: the screen cannot be written to: %s", error)
        except Exception:
            logger.exception("Progress is no longer shown. The artifacts are not affected.")

    def _show_burst(self) -> None:
        """Draw until no artifact is in flight."""
        if self._closing.wait(FIRST_DRAWING_AFTER_SECONDS) or not self._tally.rows:
            return
        screen = self._screen
        screen.begin()
        try:
            while self._tally.rows and not self._closing.is_set():
                columns, lines = screen.size()
                drawing = self._bars.lines(self._tally, columns, lines, time.monotonic())
                if drawing:
                    screen.draw(drawing)
                self._closing.wait(screen.interval)
        finally:
            screen.erase()


class LazyBars:
    """Bars that import rich only when there is something to draw."""

    def __init__(self) -> None:
        self._loaded: Bars | None = None

    @property
    def _bars(self) -> Bars:
        if self._loaded is None:
            from .bars import Bars

            self._loaded = Bars()
        return self._loaded

    def lines(self, tally: Tally, columns: int, limit: int, now: float) -> list[Line]:
        return self._bars.lines(tally, columns, limit, now)

    def ansi(self, lines: Sequence[Line]) -> list[str]:
        return self._bars.ansi(lines)

    def html(self, lines: Sequence[Line]) -> str:
        return self._bars.html(lines)


def make_display(stream: TextIO | None) -> Progress:
    """Return a display in this notebook, on the terminal ``stream``, or in the log ``stream``."""
    if in_notebook():
        return Progress(lambda bars: Notebook(bars.html))
    assert stream is not None
    if can_draw(stream):
        return Progress(lambda bars: Terminal(stream, bars.ansi))
    return Progress(lambda _: Log(stream))


def format_summary(tally: Tally) -> str:
    """Return one line with the counts of all artifacts and pushes, or "" if there were none."""
    outcomes = format_counts(
        {
            "logged": tally.logged,
            "superseded": tally.superseded,
            "failed": tally.failed,
            "cancelled": tally.cancelled,
            "pushed": tally.pushed,
            "not pushed": tally.not_pushed,
            "unfinished": len(tally.rows),
        }
    )
    if not outcomes:
        return ""
    seconds = tally.seconds
    time_text = f"{seconds:.1f} s" if seconds < 60 else format_duration(seconds)
    size = tally.bytes_logged or tally.bytes_pushed
    if tally.not_pushed and not size:
        return f"asynclive: {outcomes}, in {time_text}"
    rate = f" ({format_size(size / seconds)}/s)" if seconds > 0.1 else ""
    return f"asynclive: {outcomes}, {format_size(size)} in {time_text}{rate}"
