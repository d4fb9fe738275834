"""Entries of plain values, written without ruamel.yaml, which takes a millisecond for each.

What is written here is what ruamel.yaml would write, and is read back equal in every version of
YAML and by each of its parsers: words and numbers that need no quotes, on lines too short to be
folded. It need not be read back to know that. Entries that hold anything else are not written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

# A str, unless it is one of the words below; each of its words begins with a letter or digit.
_INSIDE = "A-Za-z0-9_./+=@%,;()-"
_TEXT = re.compile(
    rf"(?:/|(?:\.\./)+)?[A-Za-z][{_INSIDE}]*(?: [A-Za-z0-9(][{_INSIDE}]*)*", re.ASCII
)
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_/-]*")
# Booleans and null of some version.
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
_FLOAT = re.compile(r"-?[0-9]+\.[0-9]+")
# ruamel.yaml folds beyond 80; and it writes other numbers of so many digits the same.
_LINE = 72
_LARGEST = 10**15


def render_plain(name: str, entry: Any, *, indent: int, dash: int) -> str | None:
    """Return the lines of an entry, as below ``artifacts:`` in column 0; None: it is not plain.

    Args:
        indent: columns from a key to the keys below it.
        dash: columns from a key to the dashes below it.
    """
    lines: list[str] = []
    for line in _pair(name, entry, indent, indent, dash):
        if line is None or len(line) > _LINE:
            return None
        lines.append(line + "\n")
    return "".join(lines)


def _pair(key: Any, value: Any, column: int, indent: int, dash: int) -> Iterator[str | None]:
    """Yield the lines of one pair of a mapping; None where it is not plain."""
    if type(key) is not str or not _KEY.fullmatch(key) or key.lower() in _WORDS:
        yield None
        return
    start = f"{' ' * column}{key}:"
    if type(value) is dict and value:
        yield start
        for below, inner in value.items():
            yield from _pair(below, inner, column + indent, indent, dash)
    elif type(value) is list and value:
        yield start
        for item in value:
            scalar = _scalar(item)
            yield None if scalar is None else f"{' ' * (column + dash)}- {scalar}"
    else:
        scalar = _scalar(value)
        yield None if scalar is None else f"{start} {scalar}"


def _scalar(value: Any) -> str | None:
    if type(value) is str:
        # The length first: no other thread runs while a megabyte is matched.
        fits = len(value) <= _LINE and _TEXT.fullmatch(value) and value.lower() not in _WORDS
        return value if fits else None
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int:
        return str(value) if -_LARGEST < value < _LARGEST else None
    if type(value) is float:
        return repr(value) if _FLOAT.fullmatch(repr(value)) else None
    return None
