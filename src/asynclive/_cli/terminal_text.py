"""Text as a terminal may be given it: what a file is called gives no orders to it."""

from __future__ import annotations

import re

_LINE_ENDS = re.compile(r"\s*[\r\n]+\s*")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def shown(text: str) -> str:
    """``text`` with all that is not printable escaped, in one line.

    Also what turns the direction of writing around, and what is no letter in UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def message_shown(message: str) -> str:
    """A message of several lines, as DVC's may be, in one; its colours are dropped."""
    return shown(_LINE_ENDS.sub(" ", _COLOURS.sub("", message).strip()))


def size_shown(size: int) -> str:
    """Bytes in three digits and a unit: ``1.25 GiB``."""
    number, unit = float(size), 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    digits = 0 if not unit else max(0, 3 - len(str(int(number))))
    return f"{number:.{digits}f} {_UNITS[unit]}"


def _escaped(letter: str) -> str:
    # ascii() alone would leave the few spaces that are not printable to be seen as spaces.
    return ascii(letter)[1:-1]
