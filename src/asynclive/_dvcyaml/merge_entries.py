"""Merges artifact entries into the text of a dvc.yaml. No I/O.

The file belongs to its user: stages, comments, quotes and line ends stay unchanged. So the merge
does not load and dump the document. It finds the lines of the entries by the marks of ruamel.yaml's
nodes and replaces them. It copies every other byte.

The new text is read back as DVC reads it. It must hold the old data with only these entries
replaced. If lines cannot be exchanged (flow style, an alias to a replaced entry), ruamel.yaml's
round trip dumps the whole document instead. The same check applies.

ruamel.yaml is imported on first use, so that importing asynclive stays cheap.
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
from .rendering import Style, escape


def merge(text: str | None, entries: Entries) -> str:
    """Return the document with these artifact entries. Each replaces the entry of its name.

    All other data is kept. Every other byte is kept if the entries are in block style. An entry
    that already has equal values keeps its lines. Comments before and after a replaced entry stay,
    comments inside it are removed.

    Args:
        text: the document; None or empty for a new one, which is laid out as DVCLive writes it.
        entries: the values of each entry, by its name, of plain types without cycles.

    Raises:
        DocumentError: the text is no dvc.yaml that can be merged into. The message says why.
    """
    return Merger().merge(text, entries)


class Merger:
    """Merges into one document repeatedly, and remembers the last merge.

    A document that no other program has changed is not parsed again. The cost of a merge then
    depends on its entries, and not on the size of the document.
    """

    def __init__(self) -> None:
        self._last_written: Document | None = None
        # The document before the last merge. It is current if the merged text was not written.
        self._last_read: Document | None = None

    def merge(self, text: str | None, entries: Entries) -> str:
        """Do the same as the function ``merge``."""
        text = text or ""
        bom = "\ufeff" if text.startswith("\ufeff") else ""
        text = text[len(bom) :]
        document = self._remembered_document(text) or parse(text)
        self._last_read = document
        changed = _entries_to_write(document, entries)
        if not changed:
            return bom + text
        spliced = _splice(document, changed)
        if spliced is None and document.unparsed:
            document = parse_whole(text)
            spliced = _splice(document, changed)
        self._last_written = spliced
        if spliced is not None:
            self._last_read = dataclasses.replace(document, is_verified=True)
            return bom + spliced.text
        dumped = _dump(document, changed)
        if dumped is not None:
            return bom + dumped
        raise DocumentError(
            f"has '{KEY}:' written in a way that cannot be changed without changing other parts. "
            "Write its entries out in block style, without anchors, aliases and merge keys."
        )

    def _remembered_document(self, text: str) -> Document | None:
        for document in (self._last_written, self._last_read):
            if document is not None and document.text == text:
                return document
        return None


def _entries_to_write(document: Document, entries: Entries) -> Entries:
    """Return the entries that the document does not have with equal values."""
    return {name: entry for name, entry in entries.items() if not _has_entry(document, name, entry)}


def _has_entry(document: Document, name: str, entry: Mapping[str, Any]) -> bool:
    if name not in document.unparsed:
        return name in document.entries and is_same_data(document.entries[name], entry)
    assert document.pieces is not None
    # Usually the entry has the lines that we would write. Then nothing must be parsed.
    lines = document.style.render_plain({name: entry}).get(name, "").replace("\n", document.newline)
    return lines == document.pieces.lines(name) or is_same_data(parse_alone(document, name), entry)


@dataclass(frozen=True, slots=True)
class _NewLines:
    """The lines of the entries to write, indented as below ``artifacts:`` in column 0."""

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
    """Return whether new lines for these entries cannot change the data of other entries.

    Our own lines and regular lines refer to nothing outside themselves. Lines of other programs
    may hold an anchor that is used elsewhere, or may belong to an entry in an unusual way.
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
    """Return the data that the lines of an entry hold by themselves; None if that is unclear."""
    from ruamel.yaml import YAML

    assert document.pieces is not None
    text = f"{' ' * document.pieces.column}{KEY}:\n{document.pieces.lines(name)}"
    try:
        entries = YAML(typ="safe").load(text)[KEY]
    except Exception:  # the lines are not readable alone: ruamel.yaml raises many types
        return None
    return entries[name] if list(entries) == [name] else None


def _dump(document: Document, changed: Entries) -> str | None:
    """Load and dump the whole document: ruamel.yaml chooses the layout and keeps comments.

    Returns:
        The new text; None if it cannot be written, or would read back otherwise.
    """
    from ruamel.yaml.comments import CommentedMap

    text = document.text.replace("\r\n", "\n")
    yaml = document.style.yaml()
    yaml.preserve_quotes = True
    yaml.width = sys.maxsize  # fold no line
    yaml.explicit_start = re.search("^---", text, re.MULTILINE) is not None
    try:
        fresh = escape(changed)
        root = yaml.load(text) or CommentedMap()
        if root.get(KEY):
            root[KEY].update(fresh)
            # libyaml does not read back all values that ruamel.yaml writes in flow style.
            root[KEY].fa.set_block_style()
        else:
            root[KEY] = fresh
        stream = io.StringIO()
        yaml.dump(root, stream)
    except Exception:  # ruamel.yaml raises many types; merge() then tells the user what to do
        return None
    dumped = document.with_same_end(stream.getvalue().replace("\n", document.newline))
    wanted = {**document.data, KEY: {**document.entries, **changed}}
    return dumped if _reads_back_as(dumped, wanted) else None


def _reads_back_as(text: str, wanted: dict[Any, Any]) -> bool:
    from ruamel.yaml import YAML

    try:
        return is_same_data(YAML(typ="safe").load(text), wanted)
    except Exception:  # not readable, so it does not hold the wanted data
        return False


def is_same_data(one: Any, other: Any) -> bool:
    """Return whether both are equal and of the same type: 1, 1.0 and True differ, nan does not."""
    if isinstance(one, dict) and isinstance(other, Mapping):
        # Compare keys by repr: the keys 1 and True are equal, and nan is not equal to itself.
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
        return not one - other  # across time zones, == is False in the repeated hour in autumn
    return bool(one == other or (one != one and other != other))
