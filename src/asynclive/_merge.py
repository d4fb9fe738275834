"""A pure merge of artifact entries into the text of a dvc.yaml.

The file belongs to its user: stages, comments, quotes and line ends stay as they are. So the
merge does not load and dump the document. It finds the lines of the entries by the marks of
ruamel.yaml's nodes and puts new lines in their place; every other byte is copied. What results
is read again, as DVC reads it, and must hold the old data with just these entries replaced.
Where lines cannot be exchanged (flow style, an alias to what is replaced), ruamel.yaml's round
trip dumps the whole document instead, under the same check.

ruamel.yaml is imported on first use: importing asynclive stays cheap.
"""

from __future__ import annotations

import dataclasses
import datetime
import io
import re
import sys
import textwrap
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from ._document import KEY, Document, DocumentError, Entries, Place, escaped, parse


def merge(text: str | None, entries: Entries) -> str:
    """Return the document with these artifact entries, each replacing the one of its name.

    All else is kept, to the byte where the entries are in block style. An entry that is there
    already with equal values is left as it is written. Comments before and after a replaced
    entry stay, those inside it go.

    Args:
        text: the document; None or empty for a new one, which looks as DVCLive writes it.
        entries: name to values, of plain types without cycles.

    Raises:
        DocumentError: it is not a dvc.yaml that could be merged into; says why.
    """
    return Merger().merge(text, entries)


class Merger:
    """Merges into one document again and again, and remembers what the last merge wrote.

    While nobody else writes to it, it is not parsed again: a merge then costs what its entries
    cost, not what the document holds.
    """

    def __init__(self) -> None:
        self._written: Document | None = None

    def merge(self, text: str | None, entries: Entries) -> str:
        """As the function ``merge``."""
        text = text or ""
        bom = "\ufeff" if text.startswith("\ufeff") else ""
        text = text[len(bom) :]
        written = self._written
        known = written is not None and written.text == text
        document = written if written is not None and known else parse(text)
        old = document.data.get(KEY) or {}  # null is an empty mapping
        changed = {
            name: entry
            for name, entry in entries.items()
            if name not in old or not _same(old[name], entry)
        }
        if not changed:
            return bom + text
        wanted = {**document.data, KEY: {**old, **changed}}
        spliced = _splice(document, changed)
        # Of what we wrote ourselves all but the new lines has been checked before.
        if spliced is not None and (
            _holds(f"{KEY}:\n{spliced.new_lines}", {KEY: changed})
            if known
            else _holds(spliced.text, wanted)
        ):
            self._written = dataclasses.replace(spliced, data=wanted)
            return bom + spliced.text
        self._written = None
        dumped = _dump(document, changed)
        if dumped is not None and _holds(dumped, wanted):
            return bom + dumped
        raise DocumentError(
            f"has '{KEY}:' written in a way that cannot be changed without changing other parts. "
            "Write its entries out in block style, without anchors, aliases and merge keys."
        )


def _splice(document: Document, entries: Entries) -> Document | None:
    """Exchange the lines of the entries and copy all else; None where that cannot be done."""
    place, text, newline = document.place, document.lines, document.newline
    if place is None:
        return None
    rendered = document.style.render(entries)
    lines = {
        name: textwrap.indent(entry, " " * place.column).replace("\n", newline)
        for name, entry in rendered.items()
    }
    edits = [(*place.entries[name], lines[name]) for name in lines if name in place.entries]
    if place.cut is not None:
        edits.append((*place.cut, ""))
    added = [name for name in lines if name not in place.entries]
    key = "" if place.has_key else f"{' ' * place.column}{KEY}:{newline}"
    edits.append((place.end, place.end, key + "".join(lines[name] for name in added)))
    edits.sort()
    pieces, position = [], 0
    for start, end, new in edits:
        pieces += [text[position:start], new]
        position = end
    merged = "".join([*pieces, text[position:]])
    return dataclasses.replace(
        document,
        text=document.ended_alike(merged),
        place=_moved(place, edits, [(name, lines[name]) for name in added], len(key)),
        new_lines="".join(rendered.values()),
    )


def _moved(
    place: Place, edits: list[tuple[int, int, str]], added: list[tuple[str, str]], key: int
) -> Place:
    """Where the entries stand after these edits, the last of which is the added lines."""
    starts = [start for start, _, _ in edits]
    shifts = [0]
    for start, end, new in edits:
        shifts.append(shifts[-1] + len(new) - (end - start))
    replaced = {start: len(new) for start, end, new in edits if end > start}
    entries = {}
    for name, (start, end) in place.entries.items():
        moved = start + shifts[bisect_left(starts, start)]
        entries[name] = moved, moved + replaced.get(start, end - start)
    at = place.end + shifts[bisect_left(starts, place.end)] + key
    for name, new in added:
        entries[name] = at, at + len(new)
        at += len(new)
    return Place(entries, at, place.column, has_key=True)


def _dump(document: Document, entries: Entries) -> str | None:
    """Load and dump the whole document: the layout is ruamel.yaml's, comments are kept."""
    from ruamel.yaml.comments import CommentedMap

    text = document.text.replace("\r\n", "\n")
    yaml = document.style.yaml()
    yaml.preserve_quotes = True
    yaml.width = sys.maxsize  # so that no line is folded
    yaml.explicit_start = re.search("^---", text, re.MULTILINE) is not None
    try:
        fresh = escaped(entries)
        root = yaml.load(text) or CommentedMap()
        if root.get(KEY):
            root[KEY].update(fresh)
            # Not all values that a flow style of ours would hold are read back by libyaml.
            root[KEY].fa.set_block_style()
        else:
            root[KEY] = fresh
        stream = io.StringIO()
        yaml.dump(root, stream)
    except Exception:  # whatever keeps ruamel.yaml from it; merge() says what to do
        return None
    return document.ended_alike(stream.getvalue().replace("\n", document.newline))


def _holds(text: str, wanted: dict[Any, Any]) -> bool:
    from ruamel.yaml import YAML

    try:
        return _same(YAML(typ="safe").load(text), wanted)
    except Exception:  # not readable, for whatever reason: not what was wanted
        return False


def _same(one: Any, other: Any) -> bool:
    """Equal, and of one type: 1, 1.0 and True differ, nan does not."""
    if isinstance(one, dict) and isinstance(other, Mapping):
        # By repr: the keys 1 and True are equal, and nan is not even itself.
        others = {repr(key): value for key, value in other.items()}
        return len(one) == len(other) and all(
            repr(key) in others and _same(value, others[repr(key)]) for key, value in one.items()
        )
    if isinstance(one, list) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if type(one) is not type(other):
        return False
    if isinstance(one, datetime.datetime) and None not in (one.utcoffset(), other.utcoffset()):
        return not one - other  # == is False across time zones in the hour that comes twice
    return bool(one == other or (one != one and other != other))
