"""Finds the lines of each artifact entry in a dvc.yaml, by the marks of ruamel.yaml's nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

KEY = "artifacts"
NULL_TAG = "tag:yaml.org,2002:null"
STR_TAG = "tag:yaml.org,2002:str"

Span = tuple[int, int]
"""Start and end of whole lines, as offsets into the text."""


@dataclass(frozen=True)
class Spans:
    """Where ``artifacts:`` and its entries stand in the text."""

    entries: dict[str, Span]
    """The lines of each entry, without the comments and blank lines that follow it."""
    end: int
    """The offset at which new entries are inserted."""
    column: int
    """The column of the key ``artifacts``."""
    has_key: bool
    cut: Span | None = None
    """An empty value (``null``, ``{}``) that new entries replace."""


@dataclass(frozen=True)
class EntryPieces:
    """The text of a dvc.yaml, cut at its entries. A merge exchanges some pieces and joins them.

    The cost of a merge depends on the entries that change. Copying the two containers and joining
    the pieces takes a fraction of a millisecond for thousands of entries.
    """

    pieces: list[str]
    """First the text before the entries. It ends with the line of ``artifacts:``, which is added
    if it is missing. Then, for each entry, its lines and the text up to the next one. Last, the
    text after the entries."""
    index: dict[str, int]
    """The position of each entry's lines among the pieces, in the order of the document."""
    column: int
    """The column of the key ``artifacts``."""

    @classmethod
    def of(cls, text: str, spans: Spans, newline: str) -> EntryPieces:
        """Cut the text at its entries. Its last line must have a line end."""
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
        """Return the pieces with new lines for some entries. New entries go after the last one."""
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
        """Join the pieces, without the lines of some entries."""
        pieces = self.pieces
        if without:
            pieces = pieces.copy()
            for name in without:
                pieces[self.index[name]] = ""
        return "".join(pieces)


def locate(text: str, root: Any) -> Spans | None:
    """Find the lines of ``artifacts:``; return None if they are not in block style."""
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
        # New entries go after the comments at the end of the document, and before a "...".
        return Spans({}, _line_end(text, root.end_mark.index), column, has_key=False)
    if _is_empty(value):
        end = _line_end(text, value.end_mark.index)
        return Spans({}, end, column, has_key=True, cut=_cut(text, value))
    if not is_block(value, "mapping"):
        return None
    starts = [_line_start(text, name.start_mark.index) for name, _ in value.value]
    limits = [*starts[1:], _line_start(text, value.end_mark.index)]
    if not text[value.end_mark.index :].strip():
        limits[-1] = len(text)  # the value ends with the text, perhaps within the last line
    spans = {}
    end = 0
    for (name, entry), start, limit in zip(value.value, starts, limits, strict=True):
        end = _strip_comments(text, limit, _content_end(text, start, limit, name, entry))
        if name.tag == STR_TAG:
            # Keep blank lines out of the span, even those of a block scalar: after a replacement
            # they still separate the entries.
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
        return line  # the value stands alone on its lines
    return len(text[:start].rstrip(" \t")), end


def _content_end(text: str, start: int, limit: int, key: Any, node: Any) -> int:
    """Return the offset after which a "#" is a comment and a blank line is not part of a value."""
    while node.id != "scalar" and not node.flow_style and node.value:
        last = node.value[-1]
        key, node = last if node.id == "mapping" else (last, last)
    end = int(node.end_mark.index)
    if node.start_mark.index == end:
        end = int(key.end_mark.index)  # an empty value is marked at the next token, after comments
    if not start < end <= limit:
        return start  # the node of an alias is elsewhere; nothing follows an alias on its line
    if node.id == "scalar" and node.value.endswith("\n\n"):
        return end  # the blank lines at the end belong to the scalar
    return start + len(text[start:end].rstrip())


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    """Return the start of the first line that begins at ``index`` or later."""
    if index == _line_start(text, index):
        return index
    return text.index("\n", index) + 1


def _strip_comments(text: str, end: int, start: int, *, comments: bool = True) -> int:
    """Move ``end`` back over blank lines, and lines of comments, that begin after ``start``."""
    while True:
        line_start = _line_start(text, end - 1)
        line = text[line_start:end].strip()
        if line_start < start or (line and not (comments and line.startswith("#"))):
            return end
        end = line_start


Entries = Mapping[str, Mapping[str, Any]]


# Columns. Deeper indentation is an alignment of one value, not the style of the document.
MAX_INDENT = 8
