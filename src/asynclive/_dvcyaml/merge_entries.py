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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .document import Document, DocumentError, parse, parse_whole
from .entry_lines import KEY, Entries
from .rendering import Style, escaped


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
        # What was merged into: it is what is there if the merged text is not taken up.
        self._read: Document | None = None

    def merge(self, text: str | None, entries: Entries) -> str:
        """As the function ``merge``."""
        text = text or ""
        bom = "\ufeff" if text.startswith("\ufeff") else ""
        text = text[len(bom) :]
        document = self._remembered(text) or parse(text)
        self._read = document
        changed = _changed(document, entries)
        if not changed:
            return bom + text
        spliced = _splice(document, changed)
        if spliced is None and document.unparsed:
            document = parse_whole(text)
            spliced = _splice(document, changed)
        self._written = spliced
        if spliced is not None:
            self._read = dataclasses.replace(document, is_verified=True)
            return bom + spliced.text
        dumped = _dump(document, changed)
        if dumped is not None:
            return bom + dumped
        raise DocumentError(
            f"has '{KEY}:' written in a way that cannot be changed without changing other parts. "
            "Write its entries out in block style, without anchors, aliases and merge keys."
        )

    def _remembered(self, text: str) -> Document | None:
        for document in (self._written, self._read):
            if document is not None and document.text == text:
                return document
        return None


def _changed(document: Document, entries: Entries) -> Entries:
    """Return those of the entries that the document does not have."""
    return {name: entry for name, entry in entries.items() if not _has(document, name, entry)}


def _has(document: Document, name: str, entry: Mapping[str, Any]) -> bool:
    if name not in document.unparsed:
        return name in document.entries and is_same_data(document.entries[name], entry)
    assert document.pieces is not None
    # Mostly it is written as we would write it: then nothing need be parsed.
    lines = document.style.render_plain({name: entry}).get(name, "").replace("\n", document.newline)
    return lines == document.pieces.lines(name) or is_same_data(parse_alone(document, name), entry)


@dataclass(frozen=True, slots=True)
class _NewLines:
    """The lines of the entries to write, as below ``artifacts:`` in column 0."""

    plain: dict[str, str]
    """Entries of plain values. They read back equal without a check (see ``plain_rendering``)."""
    rendered: dict[str, str]
    """Entries that ruamel.yaml wrote. They must be read back before they are trusted."""

    @classmethod
    def of(cls, entries: Entries, style: Style) -> _NewLines:
        plain = style.render_plain(entries)
        others = {name: entries[name] for name in entries.keys() - plain}
        return cls(plain, style.render(others))

    def in_document(self, names: Iterable[str], column: int, newline: str) -> dict[str, str]:
        """Return the lines in the order of the names, with the document's column and line ends."""
        indent = " " * column
        lines = {**self.plain, **self.rendered}
        return {name: textwrap.indent(lines[name], indent).replace("\n", newline) for name in names}


def _splice(document: Document, changed: Entries) -> Document | None:
    """Return the document with new lines for these entries; None if it would read back otherwise.

    All other bytes are copied.
    """
    if document.pieces is None:
        return None
    new_lines = _NewLines.of(changed, document.style)
    pieces = document.pieces.with_lines(
        new_lines.in_document(changed, document.pieces.column, document.newline)
    )
    spliced = dataclasses.replace(
        document,
        text=document.with_same_end(pieces.text()),
        data={**document.data, KEY: {**document.entries, **changed}},
        pieces=pieces,
        foreign=_without(document.foreign, changed),
        unparsed=_without(document.unparsed, changed),
        is_verified=True,
    )
    # 1. The new lines cannot affect other entries: only those of ruamel.yaml are read back.
    # 2. They might: the whole document is read back.
    if _leaves_other_entries_alone(document, changed):
        reads_back = _rendered_lines_read_back(new_lines, changed)
    else:
        reads_back = _document_reads_back(spliced, document, new_lines, changed)
    return spliced if reads_back else None


def _rendered_lines_read_back(new_lines: _NewLines, changed: Entries) -> bool:
    if not new_lines.rendered:
        return True
    text = f"{KEY}:\n{''.join(new_lines.rendered.values())}"
    return _reads_back_as(text, {KEY: {name: changed[name] for name in new_lines.rendered}})


def _document_reads_back(
    spliced: Document, document: Document, new_lines: _NewLines, changed: Entries
) -> bool:
    """Return whether the new text holds the wanted data.

    The check leaves out unparsed entries, and new plain ones that another new entry follows. The
    lines of such an entry are the same mapping with and without the others (see ``fast_scan``).
    """
    assert document.pieces is not None
    assert spliced.pieces is not None
    added = [name for name in changed if name not in document.pieces.index]
    left_out = spliced.unparsed.union(
        name for name in added[:-1] if name in new_lines.plain and name not in document.entries
    )
    wanted = {name: entry for name, entry in spliced.entries.items() if name not in left_out}
    return _reads_back_as(
        document.with_same_end(spliced.pieces.text(left_out)), {**spliced.data, KEY: wanted}
    )


def _without(names: frozenset[str], changed: Entries) -> frozenset[str]:
    return names if names.isdisjoint(changed) else names.difference(changed)


def _leaves_other_entries_alone(document: Document, changed: Entries) -> bool:
    """Whether new lines for these entries leave the data of all others as it is.

    That holds for lines of our own making and for regular ones: nothing in them reaches out of
    them. What others wrote may have an anchor that is used elsewhere, or lines that
    belong to an entry in a way of their own.
    """
    pieces = document.pieces
    assert pieces is not None
    if not document.is_verified:
        return False
    adds_an_entry = not pieces.index.keys() >= changed.keys()
    if adds_an_entry and (pieces.last_name is None or pieces.last_name in document.foreign):
        return False
    return all(
        "&" not in pieces.lines(name)
        and is_same_data(parse_alone(document, name), document.entries.get(name))
        for name in document.foreign.intersection(changed)
    )


def parse_alone(document: Document, name: str) -> Any:
    """Return what the lines of an entry hold by themselves; None if they do not say."""
    from ruamel.yaml import YAML

    assert document.pieces is not None
    text = f"{' ' * document.pieces.column}{KEY}:\n{document.pieces.lines(name)}"
    try:
        found = YAML(typ="safe").load(text)[KEY]
    except Exception:  # not readable, for whatever reason
        return None
    return found[name] if list(found) == [name] else None


def _dump(document: Document, changed: Entries) -> str | None:
    """Load and dump the whole document: the layout is ruamel.yaml's, comments are kept.

    None where that cannot be done.
    """
    from ruamel.yaml.comments import CommentedMap

    text = document.text.replace("\r\n", "\n")
    yaml = document.style.yaml()
    yaml.preserve_quotes = True
    yaml.width = sys.maxsize  # so that no line is folded
    yaml.explicit_start = re.search("^---", text, re.MULTILINE) is not None
    try:
        fresh = escaped(changed)
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
    dumped = document.with_same_end(stream.getvalue().replace("\n", document.newline))
    wanted = {**document.data, KEY: {**document.entries, **changed}}
    return dumped if _reads_back_as(dumped, wanted) else None


def _reads_back_as(text: str, wanted: dict[Any, Any]) -> bool:
    from ruamel.yaml import YAML

    try:
        return is_same_data(YAML(typ="safe").load(text), wanted)
    except Exception:  # not readable, for whatever reason: not what was wanted
        return False


def is_same_data(one: Any, other: Any) -> bool:
    """Equal, and of one type: 1, 1.0 and True differ, nan does not."""
    if isinstance(one, dict) and isinstance(other, Mapping):
        # By repr: the keys 1 and True are equal, and nan is not even itself.
        others = {repr(key): value for key, value in other.items()}
        return len(one) == len(other) and all(
            repr(key) in others and is_same_data(value, others[repr(key)])
            for key, value in one.items()
        )
    if isinstance(one, list) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(is_same_data, one, other))
    if type(one) is not type(other):
        return False
    if isinstance(one, datetime.datetime) and None not in (one.utcoffset(), other.utcoffset()):
        return not one - other  # == is False across time zones in the hour that comes twice
    return bool(one == other or (one != one and other != other))
