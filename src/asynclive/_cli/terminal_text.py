"""Text that is safe for a terminal: a file name cannot send escape sequences to it."""

from __future__ import annotations

import re

_LINE_ENDS = re.compile(r"\s*[\r\n]+\s*")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def escape_unprintable(text: str) -> str:
    """Return ``text`` with unprintable characters escaped, on one line.

    Unprintable are also characters that change the direction of writing, and bytes of a file
    name that are not UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def format_message(message: str) -> str:
    """Return a message on one line, without colours. DVC's messages may have several lines."""
    return escape_unprintable(_LINE_ENDS.sub(" ", _COLOURS.sub("", message).strip()))


def format_size(size: int) -> str:
    """Return a number of bytes in three digits and a unit: ``1.25 GiB``."""
    number, unit = float(size), 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    digits = 0 if not unit else max(0, 3 - len(str(int(number))))
    return f"{number:.{digits}f} {_UNITS[unit]}"


def _escape(letter: str) -> str:
    # ascii() of the whole text would also escape printable letters, such as é.
    return ascii(letter)[1:-1]
