"""progress=: decides whether progress is shown. It imports the display only if it is shown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .screens import can_draw, in_notebook

if TYPE_CHECKING:
    from .display import Progress


def make_progress(wanted: bool | None) -> Progress | None:
    """Return the progress display for this process, or None if progress is not shown.

    Args:
        wanted: True: show progress, as lines of a log if stderr is no terminal. False: do not.
            None: only in a terminal or a notebook.

    Raises:
        TypeError: ``wanted`` is neither a bool nor None.
    """
    if wanted is not None and not isinstance(wanted, bool):
        raise TypeError(f"progress must be True, False or None, not {wanted!r}")
    if wanted is False:
        return None
    # sys.stderr is None under pythonw.
    if not (in_notebook() or can_draw(sys.stderr) or (wanted and sys.stderr is not None)):
        return None
    from .display import make_display  # late: most programs without a terminal never need it

    return make_display(sys.stderr)
