"""Progress, for who looks on: drawn by a thread of its own, from what events say.

The event loop only counts. The thread sleeps while nothing is in flight, and waits a moment
before it draws anything, so that what takes less is not seen to flash. It is waited for no
longer than a moment either: a terminal may be stopped, and then it takes nothing.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from logging import getLogger
from typing import TYPE_CHECKING

from .._instrumentation.events import ArtifactEvent
from .artifact_tally import Tally, outcomes
from .screens import UNWRITABLE, Line, Log, Notebook, Screen, can_draw, in_notebook
from .terminal import Terminal
from .units import duration, size

if TYPE_CHECKING:
    from .bars import Bars

logger = getLogger(__name__)

# What is done sooner is only summed up (seconds).
FIRST_AFTER = 0.3
# For the last line, when the terminal takes nothing (seconds).
_LAST_WITHIN = 1.0


class Progress:
    """Shows the artifacts in flight on a screen, and sums them up at the end.

    Args:
        make_screen: makes the screen, given what makes lines fit for it.
    """

    def __init__(self, make_screen: Callable[[LazyBars], Screen]) -> None:
        self._bars = LazyBars()
        self._screen = make_screen(self._bars)
        self._tally = Tally()
        self._busy = threading.Event()
        self._closing = threading.Event()
        # A daemon: a terminal that is stopped must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="asynclive-progress", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def take(self, event: ArtifactEvent) -> None:
        """On the event loop."""
        self._tally.take(event)
        if not self._busy.is_set():
            self._busy.set()

    def close(self) -> None:
        """Leave a line that sums it up. Blocking, for a moment at most."""
        self._closing.set()
        self._busy.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_WITHIN)

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._busy.wait()
                self._show_burst()
                # What begins after this sets it again.
                self._busy.clear()
                if self._tally.rows:
                    self._busy.set()
            self._screen.finish(summary(self._tally))
        except UNWRITABLE as error:
            logger.debug("Progress cannot be shown any more: %s", error)
        except Exception:
            logger.exception("Progress cannot be shown any more; the artifacts are logged.")

    def _show_burst(self) -> None:
        """Until nothing is in flight."""
        if self._closing.wait(FIRST_AFTER) or not self._tally.rows:
            return
        screen = self._screen
        screen.begin()
        try:
            while self._tally.rows and not self._closing.is_set():
                columns, lines = screen.size()
                shown = self._bars.lines(self._tally, columns, lines, time.monotonic())
                if shown:
                    screen.draw(shown)
                self._closing.wait(screen.interval)
        finally:
            screen.erase()


class LazyBars:
    """Imports rich when there is something to draw."""

    def __init__(self) -> None:
        self._made: Bars | None = None

    @property
    def _bars(self) -> Bars:
        if self._made is None:
            from .bars import Bars

            self._made = Bars()
        return self._made

    def lines(self, tally: Tally, columns: int, most: int, now: float) -> list[Line]:
        return self._bars.lines(tally, columns, most, now)

    def ansi(self, lines: Sequence[Line]) -> list[str]:
        return self._bars.ansi(lines)

    def html(self, lines: Sequence[Line]) -> str:
        return self._bars.html(lines)


def make_progress(wanted: bool | None) -> Progress | None:
    """What shows progress; None: nothing does.

    Args:
        wanted: None: where somebody looks on, at a terminal or a notebook.

    Raises:
        TypeError: it is none of these.
    """
    if wanted is not None and not isinstance(wanted, bool):
        raise TypeError(f"progress must be True, False or None, not {wanted!r}")
    if wanted is False:
        return None
    if in_notebook():
        return Progress(lambda bars: Notebook(bars.html))
    stream = sys.stderr
    if can_draw(stream):
        return Progress(lambda bars: Terminal(stream, bars.ansi))
    # Without a stderr (under pythonw) there is nowhere to show anything.
    return Progress(lambda _: Log(stream)) if wanted and stream is not None else None


def summary(tally: Tally) -> str:
    """One line of what became of all; empty: there was nothing."""
    ended = outcomes(tally.logged, tally.failed, tally.cancelled, tally.superseded)
    if tally.rows:
        ended += f"{', ' if ended else ''}{len(tally.rows):,} not ended"
    if not ended:
        return ""
    seconds = tally.seconds
    took = f"{seconds:.1f} s" if seconds < 60 else duration(seconds)
    rate = f" ({size(tally.bytes_logged / seconds)}/s)" if seconds > 0.1 else ""
    return f"asynclive: {ended}, {size(tally.bytes_logged)} in {took}{rate}"
