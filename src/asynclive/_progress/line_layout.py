"""Computes the width of each column, and makes the text of a line."""

from __future__ import annotations

from rich.cells import cell_len

from .screens import Line
from .units import format_amount, format_duration, format_size

_MAX_NAME_CELLS = 32
# The name is not shortened below this width as long as another column can be left out.
_MIN_NAME_CELLS = 12
_MAX_BAR_CELLS = 40
_MIN_BAR_CELLS = 8
_GAP = ("  ", "")
# The columns in the order in which they are left out of lines that are too wide. The name stays.
_OPTIONAL_COLUMNS = ("time", "rate", "bar", "amount", "stage")


class Fields:
    """The content of a line, before the widths of its columns are known."""

    __slots__ = ("amount", "done", "is_sum", "name", "rate", "stage", "time", "total")

    def __init__(
        self,
        *,
        name: str,
        stage: str,
        done: int,
        total: int | None,
        rate: float | None,
        remaining: int | None,
        is_sum: bool = False,
    ) -> None:
        self.name = name
        self.stage = stage
        self.done = done
        self.total = total
        self.is_sum = is_sum
        self.amount = "" if total is None else format_amount(done, total)
        self.rate = "" if rate is None else f"{format_size(rate)}/s"
        self.time = "" if not rate or remaining is None else format_duration(remaining / rate)


class Layout:
    """The width of each column, in cells of the terminal.

    If the lines are too wide, the bar and the name become shorter. If that is not enough, the
    least important columns are left out.
    """

    def __init__(self, width: int, fields: list[Fields]) -> None:
        self.width = width
        stage = len("committing")
        longest_row = max((cell_len(each.name) for each in fields if not each.is_sum), default=0)
        # The text of the sum also takes the column of the stage.
        longest = max(cell_len(each.name) for each in fields)
        name = max(longest_row, longest - 2 - stage, 1)
        self.cells = {
            "name": min(_MAX_NAME_CELLS, name),
            "stage": stage,
            "bar": _MAX_BAR_CELLS,
            "amount": max(len("1000/1000 MiB"), *(len(each.amount) for each in fields)),
            # The longest texts, so that columns do not change their width.
            "rate": len("1023 MiB/s"),
            "time": len("59:59"),
        }
        """The width of each column; 0 if the column is left out."""

    @classmethod
    def fitting(cls, width: int, fields: list[Fields]) -> Layout:
        """Return a layout whose lines are not wider than ``width``."""
        layout = cls(width, fields)
        for column in _OPTIONAL_COLUMNS:
            if layout._shorten_to_fit():
                return layout
            layout.cells[column] = 0
        layout.cells["name"] = max(1, min(layout.cells["name"], width))
        return layout

    def _shorten_to_fit(self) -> bool:
        """Shorten the bar and the name down to their minimum. Return whether the lines fit."""
        cells = self.cells
        excess = self._used - self.width
        if excess > 0 and cells["bar"]:
            cut = min(excess, cells["bar"] - _MIN_BAR_CELLS)
            cells["bar"] -= cut
            excess -= cut
        if excess > 0 and excess <= cells["name"] - _MIN_NAME_CELLS:
            cells["name"] -= excess
            excess = 0
        return excess <= 0

    @property
    def _used(self) -> int:
        widths = self.cells.values()
        return sum(widths) + 2 * (sum(map(bool, widths)) - 1)

    def line(self, fields: Fields) -> Line:
        """Return the line of one artifact, or of the sum."""
        cells = self.cells
        has_stage = cells["stage"] and not fields.is_sum
        # The text of the sum also takes the column of the stage.
        first = cells["name"] + (2 + cells["stage"] if fields.is_sum and cells["stage"] else 0)
        name = pad(shorten(fields.name, first), first)
        line = [(name, "bold" if fields.is_sum else "")]
        if has_stage:
            stage = fields.stage.ljust(cells["stage"])
            line += [_GAP, (stage, "cyan" if fields.stage in ("staging", "pushing") else "dim")]
        if cells["bar"]:
            line += [_GAP, *bar(fields.done, fields.total, cells["bar"])]
        for text, width, style in (
            (fields.amount, cells["amount"], "progress.download"),
            (fields.rate, cells["rate"], "progress.data.speed"),
            (fields.time, cells["time"], "progress.remaining"),
        ):
            if width:
                line += [_GAP, (text.rjust(width), style)]
        return line


def bar(done: int, total: int | None, cells: int) -> Line:
    """Return a bar of ``cells`` cells, as texts with rich's styles for bars."""
    # An artifact of 0 bytes is done as soon as its size is known.
    share = 0.0 if total is None else 1.0 if not total else min(1.0, done / total)
    halves = int(share * 2 * cells)
    if halves == 2 * cells:
        return [("━" * cells, "bar.finished")]
    full, half = divmod(halves, 2)
    rest = cells - full - half
    return [
        ("━" * full + "╸" * half, "bar.complete"),
        ("━" * rest if halves % 2 or not full else "╺" + "━" * (rest - 1), "bar.back"),
    ]


def shorten(text: str, cells: int) -> str:
    """Return ``text`` in at most ``cells`` cells, with its middle left out.

    Names often differ only at the end, so that both ends must stay.
    """
    if cell_len(text) <= cells:
        return text
    head, tail = "", ""
    letters = list(text)
    available = cells - 1  # one for the ellipsis
    while letters:
        extends_tail = cell_len(tail) <= cell_len(head)
        letter = letters[-1 if extends_tail else 0]
        if cell_len(head) + cell_len(tail) + cell_len(letter) > available:
            break
        if extends_tail:
            tail = letters.pop() + tail
        else:
            head += letters.pop(0)
    return f"{head}…{tail}" if cells > 0 else ""


def pad(text: str, cells: int) -> str:
    """Return ``text`` with spaces after it, ``cells`` cells wide."""
    return text + " " * (cells - cell_len(text))
