"""How wide each column of a line may be."""

from __future__ import annotations

from rich.cells import cell_len

from .screens import Line
from .units import amount, duration, size

_NAME_CELLS = 32


_BAR_CELLS = 40


_FEWEST_BAR_CELLS = 8


_GAP = ("  ", "")


class Fields:
    """What a line says, before it is known how wide each part may be."""

    __slots__ = ("amount", "done", "is_sum", "name", "rate", "stage", "time", "total")

    def __init__(
        self,
        *,
        name: str,
        stage: str,
        done: int,
        total: int | None,
        rate: float | None,
        left: int | None,
        is_sum: bool = False,
    ) -> None:
        self.name = name
        self.stage = stage
        self.done = done
        self.total = total
        self.is_sum = is_sum
        self.amount = "" if total is None else amount(done, total)
        self.rate = "" if rate is None else f"{size(rate)}/s"
        self.time = "" if not rate or left is None else duration(left / rate)


class Layout:
    """How wide the parts are: what matters least goes first where there is no room."""

    def __init__(self, width: int, fields: list[Fields]) -> None:
        self.width = width
        rows = [each for each in fields if not each.is_sum]
        self.name = min(_NAME_CELLS, max((cell_len(each.name) for each in rows), default=0))
        self.stage = len("committing")
        # The sum has both columns for what it says.
        longest = max(cell_len(each.name) for each in fields)
        self.name = max(self.name, min(_NAME_CELLS, longest - 2 - self.stage), 1)
        self.amount = max(len("1000/1000 MiB"), *(len(each.amount) for each in fields))
        # As wide as it may get, or the columns would jump.
        self.rate = len("1023 MiB/s")
        self.time = len("59:59")
        self.bar = _BAR_CELLS

    @classmethod
    def fitting(cls, width: int, fields: list[Fields]) -> Layout:
        layout = cls(width, fields)
        for part in ("time", "rate", "bar", "amount", "stage"):
            if layout._make_fit():
                return layout
            setattr(layout, part, 0)
        layout.name = max(1, min(layout.name, width))
        return layout

    def _make_fit(self) -> bool:
        """Shorten the bar and the name as far as is sensible; whether all fits then."""
        over = self._used - self.width
        if over > 0 and self.bar:
            shorter = min(over, self.bar - _FEWEST_BAR_CELLS)
            self.bar -= shorter
            over -= shorter
        if over > 0:
            shorter = min(over, max(0, self.name - 12))
            if shorter == over:
                self.name -= shorter
                over = 0
        return over <= 0

    @property
    def _used(self) -> int:
        parts = (self.name, self.stage, self.bar, self.amount, self.rate, self.time)
        return sum(parts) + 2 * (sum(map(bool, parts)) - 1)

    def line(self, fields: Fields) -> Line:
        # The sum has the column of the stage too.
        first = self.name + (2 + self.stage if fields.is_sum and self.stage else 0)
        name = padded(shortened(fields.name, first), first)
        line = [(name, "bold" if fields.is_sum else "")]
        if self.stage and not fields.is_sum:
            stage = fields.stage.ljust(self.stage)
            line += [_GAP, (stage, "cyan" if fields.stage == "staging" else "dim")]
        if self.bar:
            line += [_GAP, *bar(fields.done, fields.total, self.bar)]
        for text, width, style in (
            (fields.amount, self.amount, "progress.download"),
            (fields.rate, self.rate, "progress.data.speed"),
            (fields.time, self.time, "progress.remaining"),
        ):
            if width:
                line += [_GAP, (text.rjust(width), style)]
        return line


def bar(done: int, total: int | None, cells: int) -> Line:
    """A bar of so many cells, in pieces with rich's styles for bars."""
    # An artifact without bytes is done as soon as it is known to have none.
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


def shortened(text: str, cells: int) -> str:
    """No wider than so many cells; what is left out is in the middle: ends tell names apart."""
    if cell_len(text) <= cells:
        return text
    head, tail = "", ""
    letters = list(text)
    room = cells - 1
    while letters:
        taken = letters[-1] if cell_len(tail) <= cell_len(head) else letters[0]
        if cell_len(head) + cell_len(tail) + cell_len(taken) > room:
            break
        if cell_len(tail) <= cell_len(head):
            tail = letters.pop() + tail
        else:
            head += letters.pop(0)
    return f"{head}…{tail}" if cells > 0 else ""


def padded(text: str, cells: int) -> str:
    return text + " " * (cells - cell_len(text))
