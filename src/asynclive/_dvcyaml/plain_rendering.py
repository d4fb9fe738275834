"""Writes entries of plain values without ruamel.yaml, which takes a millisecond for each.

Plain values are words and numbers that need no quotes, on lines too short to be folded. The lines
are the ones that ruamel.yaml would write. Every parser reads them back equal in every version of
YAML, so they need no check. Entries with other values are left to ruamel.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

# YAML reads this as a str, unless it is in _WORDS. Each of its words begins with a letter or digit.
_INSIDE = "A-Za-z0-9_./+=@%,;()-"
_TEXT = re.compile(
    rf"(?:/|(?:\.\./)+)?[A-Za-z][{_INSIDE}]*(?: [A-Za-z0-9(][{_INSIDE}]*)*", re.ASCII
)
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_/-]*")
# YAML reads these as booleans or null, depending on its version.
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
_FLOAT = re.compile(r"-?[0-9]+\.[0-9]+")
# Columns. ruamel.yaml folds lines beyond 80.
_MAX_LINE = 72
# ruamel.yaml writes smaller integers as str() does.
_MAX_INT = 10**15


def render_plain(name: str, entry: Any, *, indent: int, dash: int) -> str | None:
    """Return the lines of an entry, as below ``artifacts:`` in column 0; None if it is not plain.

    Args:
        indent: columns from a key to the keys below it.
        dash: columns from a key to the dashes below it.
    """
    lines: list[str] = []
    for line in _pair(name, entry, indent, indent, dash):
        if line is None or len(line) > _MAX_LINE:
            return None
        lines.append(line + "\n")
    return "".join(lines)


def _pair(key: Any, value: Any, column: int, indent: int, dash: int) -> Iterator[str | None]:
    """Yield the lines of one pair of a mapping; None in place of a line that is not plain."""
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
        # Check the length first: the regex holds the GIL, for long with a text of a megabyte.
        fits = len(value) <= _MAX_LINE and _TEXT.fullmatch(value) and value.lower() not in _WORDS
        return value if fits else None
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int:
        return str(value) if -_MAX_INT < value < _MAX_INT else None
    if type(value) is float:
        return repr(value) if _FLOAT.fullmatch(repr(value)) else None
    return None
