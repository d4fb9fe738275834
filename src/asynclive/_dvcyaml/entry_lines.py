"""Where the artifact entries of a dvc.yaml stand: its lines, cut at the entries.

Found by the marks of ruamel.yaml's nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

KEY = "artifacts"
NULL_TAG = "tag:yaml.org,2002:null"
STR_TAG = "tag:yaml.org,2002:str"

Span = tuple[int, int]
"""Offsets into the text, of whole lines."""


@dataclass(frozen=True)
class Spans:
    """Where ``artifacts:`` stands."""

    entries: dict[str, Span]
    """Of each entry, less the comments and blank lines that follow it."""
    end: int
    """Where new entries go."""
    column: int
    """Of the key ``artifacts``."""
    has_key: bool
    cut: Span | None = None
    """An empty value (``null``, ``{}``) that has to make room."""


@dataclass(frozen=True)
class EntryPieces:
    """The text in pieces, so that a merge exchanges some of them and joins them all.

    A merge costs what its entries cost: what it does for all of them, to copy the two
    containers and to join, the interpreter does in a fraction of a millisecond for thousands.
    """

    pieces: list[str]
    """What stands before the first entry (to the line of ``artifacts:``, which is put there
    if it is missing), then of each entry its lines and what stands between them and the next,
    and what stands after the last."""
    index: dict[str, int]
    """Of the entries' lines among the pieces, in order."""
    column: int
    """Of the key ``artifacts``."""

    @classmethod
    def of(cls, text: str, spans: Spans, newline: str) -> EntryPieces:
        """Cut the text, whose last line has a line end."""
        pieces: list[str] = []
        index: dict[str, int] = {}
        position = 0
        for name, (start, end) in spans.entries.items():
            index[name] = len(pieces) + 1
            pieces += [text[position:start], text[start:end]]
            position = end
        before = text[position : spans.end]
        if spans.cut is not None:
            before = text[: spans.cut[0]] + text[spans.cut[1] : spans.end]
        if not spans.has_key:
            before += f"{' ' * spans.column}{KEY}:{newline}"
        return cls([*pieces, before, text[spans.end :]], index, spans.column)

    @property
    def last_name(self) -> str | None:
        """The name of the last entry."""
        return next(reversed(self.index), None)

    def lines(self, name: str) -> str:
        return self.pieces[self.index[name]]

    def with_lines(self, lines: Mapping[str, str]) -> EntryPieces:
        """Return it with these lines of entries, each in its old place or after the last."""
        pieces, index = self.pieces.copy(), self.index.copy()
        after = pieces.pop()
        for name, new in lines.items():
            if name in index:
                pieces[index[name]] = new
            else:
                index[name] = len(pieces)
                pieces += [new, ""]
        pieces.append(after)
        return EntryPieces(pieces, index, self.column)

    def text(self, without: Iterable[str] = ()) -> str:
        pieces = self.pieces
        if without:
            pieces = pieces.copy()
            for name in without:
                pieces[self.index[name]] = ""
        return "".join(pieces)


def locate(text: str, root: Any) -> Spans | None:
    """Find the lines of ``artifacts:``; None if they are not in block style."""
    if root is None:
        return Spans({}, len(text), column=0, has_key=False)
    if _is_empty(root):
        return Spans(
            {}, _line_end(text, root.end_mark.index), 0, has_key=False, cut=_cut(text, root)
        )
    if not is_block(root, "mapping"):
        return None
    column = root.value[0][0].start_mark.column
    for key, value in root.value:  # noqa: B007  used below, after the break
        if key.id == "scalar" and key.value == KEY:
            break
    else:
        # After the comments that end the document, before a "..." that ends it too.
        return Spans({}, _line_end(text, root.end_mark.index), column, has_key=False)
    if _is_empty(value):
        end = _line_end(text, value.end_mark.index)
        return Spans({}, end, column, has_key=True, cut=_cut(text, value))
    if not is_block(value, "mapping"):
        return None
    starts = [_line_start(text, name.start_mark.index) for name, _ in value.value]
    limits = [*starts[1:], _line_start(text, value.end_mark.index)]
    if not text[value.end_mark.index :].strip():
        limits[-1] = len(text)  # the end of the text may be the end of the last entry's line
    spans = {}
    end = 0
    for (name, entry), start, limit in zip(value.value, starts, limits, strict=True):
        end = _strip_comments(text, limit, _content_end(text, start, limit, name, entry))
        if name.tag == STR_TAG:
            # Blank lines stay, to go on setting entries apart, though they were a scalar's own.
            spans[name.value] = (start, _strip_comments(text, end, start, comments=False))
    return Spans(spans, end, column, has_key=True)


def is_block(node: Any, kind: str) -> bool:
    return node.id == kind and not node.flow_style and bool(node.value)


def _is_empty(node: Any) -> bool:
    if node.id == "mapping":
        return bool(node.flow_style) and not node.value
    return bool(node.id == "scalar" and node.tag == NULL_TAG)


def _cut(text: str, node: Any) -> tuple[int, int]:
    start, end = node.start_mark.index, node.end_mark.index
    line = _line_start(text, start), _line_end(text, end)
    if start < end and text[slice(*line)].strip() == text[start:end]:
        return line  # it stands alone
    return len(text[:start].rstrip(" \t")), end


def _content_end(text: str, start: int, limit: int, key: Any, node: Any) -> int:
    """Return where comments may begin: no "#" and no blank line before it is one."""
    while node.id != "scalar" and not node.flow_style and node.value:
        last = node.value[-1]
        key, node = last if node.id == "mapping" else (last, last)
    end = int(node.end_mark.index)
    if node.start_mark.index == end:
        end = int(key.end_mark.index)  # nothing is marked where the next thing is, after comments
    if not start < end <= limit:
        return start  # an alias leads elsewhere; it ends its line, so all after it may go
    if node.id == "scalar" and node.value.endswith("\n\n"):
        return end  # the blank lines at its end are its own
    return start + len(text[start:end].rstrip())


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    """Return the start of the first line that begins at ``index`` or later."""
    if index == _line_start(text, index):
        return index
    return text.index("\n", index) + 1


def _strip_comments(text: str, end: int, start: int, *, comments: bool = True) -> int:
    """Move ``end`` back over whole blank lines, and comments, that begin after ``start``."""
    while True:
        line_start = _line_start(text, end - 1)
        line = text[line_start:end].strip()
        if line_start < start or (line and not (comments and line.startswith("#"))):
            return end
        end = line_start


Entries = Mapping[str, Mapping[str, Any]]


# Indentation beyond this is an alignment of one value, not the document's habit.
MAX_INDENT = 8
