"""Finds the regular entries of a dvc.yaml by regex, so that thousands need no YAML parser.

ruamel.yaml takes some milliseconds to parse an entry. Nearly all entries of a large dvc.yaml have
the layout that DVCLive and this library write: block style, one plain or quoted value a line.
Regular expressions find those. Only the rest is parsed, which is a document of a few lines.

Removing regular entries before parsing is sound, because a YAML parser keeps no state from one:

- A regular entry refers to nothing outside itself: it has no anchor, alias, tag, merge key,
  comment or tab, and no line break other than the document's. Every version of YAML can construct
  its values, whichever type they resolve to. Its keys are strings and differ.
- After a regular entry comes the key of a parsed entry, perhaps with more regular entries in
  between. At a key of ``artifacts:`` in the rest, the parser has closed every open block and
  expects the next key in that column. It would read a regular entry there as an entry, and then
  be in the same state.

So the document is the rest with the regular entries inserted.
:meth:`RegularEntries.spans_in_document` checks that each of them stands before such a key. If one
does not (it was part of a quoted text), nothing that was found here is used.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from .entry_lines import KEY, MAX_INDENT, Span, Spans

# With fewer entries the parser is fast enough.
MIN_ENTRIES = 16

_LETTER = "A-Za-z\u00c0-\u167f\u3041-\ud7a3"
# Inside a plain text. Not "#", quotation marks other than "'", brackets or control characters.
_INSIDE = rf"{_LETTER}0-9_./+=@%,;()'!?&~^*|<>$-"
_WORDS = rf"[{_INSIDE}]*(?:[ :][{_INSIDE}]+)*"
# Begins with a letter, or a relative or absolute path, or has digits and then a "/". YAML reads it
# as a str, a boolean or null.
_PLAIN = rf"(?:[{_LETTER}_]|\.{{0,2}}/|[0-9][0-9A-Za-z_.-]*/){_WORDS}"
_NUMBER = r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?(?:e[+-]?[0-9]{1,2})?"
_DATE = (
    r"[12][0-9]{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?)?"
)
_QUOTED = (
    rf"'(?:[ -&(-~{_LETTER}]|'')*'"
    rf'|"(?:[ !#-\[\]-~{_LETTER}]|\\[\\"abefnrtv0]|\\x[0-9A-F]{{2}}|\\u[0-9A-C][0-9A-F]{{3}})*"'
)
_OTHER = rf"(?:{_NUMBER}|{_DATE}|{_QUOTED}|\[\]|\{{\}})"
# Not a boolean or null in any version of YAML. Short enough for a key.
_NAME = (
    r"(?!(?i:y|n|yes|no|on|off|true|false|null):)[A-Za-z_][A-Za-z0-9_./-]{0,127}"
    r"|'[ -&(-~]{1,128}'"
)


@dataclass(frozen=True)
class RegularEntries:
    """The regular entries of a document, and the rest of it."""

    rest: str
    """The text without the regular entries. It keeps the first entry, the last one, and the first
    one with a list: they show the style of the document."""
    runs: tuple[Span, ...]
    """The spans of adjacent regular entries in the document, in order."""
    entries: dict[str, Span]
    """The span of each regular entry in the document."""

    def spans_in_document(self, rest: Spans) -> Spans | None:
        """Return the spans in the document from those in the rest; None if they do not fit.

        They do not fit if a regular entry does not stand before the key of a parsed entry.
        """
        removed = [0, *accumulate(end - start for start, end in self.runs)]
        run_starts = [start - gone for (start, _), gone in zip(self.runs, removed, strict=False)]
        starts = {start for start, _ in rest.entries.values()}
        if rest.column or not starts.issuperset(run_starts):
            return None
        if not self.entries.keys().isdisjoint(rest.entries):
            return None
        spans = dict(self.entries)
        for name, (start, end) in rest.entries.items():
            gone = removed[bisect_right(run_starts, start)]
            spans[name] = start + gone, end + gone
        ordered = dict(sorted(spans.items(), key=lambda item: item[1]))
        return Spans(ordered, rest.end + removed[-1], rest.column, rest.has_key)


class _Section(NamedTuple):
    """Where the entries stand below ``artifacts:``, and their indentation."""

    start: int
    end: int
    indent: str


def scan_regular_entries(text: str, newline: str) -> RegularEntries | None:
    """Separate the regular entries from the rest; return None if that is unsafe or not worth it.

    The result is a guess until the YAML parser has read the rest: see ``spans_in_document``.
    """
    section = _find_entries(text, newline)
    entries = section and _regular_spans(text, newline, section)
    if not entries or len(entries) < MIN_ENTRIES:
        return None
    runs = _runs_of(entries.values())
    bounds = [0, *(bound for run in runs for bound in run), len(text)]
    rest = "".join(text[a:b] for a, b in zip(bounds[::2], bounds[1::2], strict=True))
    return RegularEntries(rest, runs, entries)


def _find_entries(text: str, newline: str) -> _Section | None:
    """Find the lines below ``artifacts:``; return None if they cannot be scanned safely."""
    if text.startswith("%") or "\n%" in text:
        return None  # a directive may change how values are read
    # Each search holds the GIL until it ends, so it must be fast. A pattern that begins with a line
    # end is found ten times as fast as one with "^".
    head = re.compile(rf"{KEY}: *(?:#.*)?(?={newline})")
    key = head.match(text) or re.compile(rf"\n{head.pattern}").search(text)
    first = key and re.compile(r"\n( +)[^ #\r\n]").search(text, key.end())
    if not key or not first or len(first[1]) > MAX_INDENT:
        return None
    following = re.compile(r"\n[^\s#]").search(text, key.end())
    end = following.start() + 1 if following else len(text)
    # A merge key among the entries adds names, and makes the parser accept a name twice.
    if re.compile(rf"\n{first[1]}<< *:").search(text, key.end(), end):
        return None
    return _Section(first.start() + 1, end, first[1])


def _regular_spans(text: str, newline: str, section: _Section) -> dict[str, Span] | None:
    """Return the span of each regular entry; None if a name occurs twice.

    Leaves out the first entry, and the first with a list: the parser needs them to find the style.
    """
    entry, line, key = _patterns(section.indent, newline)
    spans: dict[str, Span] = {}
    is_mapping: dict[tuple[tuple[str, ...], ...], bool] = {}
    is_list_parsed = False
    position = section.start
    while position < section.end:
        match = entry.match(text, position, section.end)
        if match is None:
            following = key.search(text, position, section.end)
            position = following.start() + 1 if following else section.end
            continue
        start, position = match.span()
        lines = tuple(line.findall(match[2]))
        if lines not in is_mapping:
            is_mapping[lines] = _is_mapping(lines, len(section.indent))
        if not is_mapping[lines]:
            continue
        if not is_list_parsed and any(mark == "-" for _, mark, _ in lines):
            is_list_parsed = True
            continue
        if start == section.start:
            continue
        name = match[1].strip("'")
        if name in spans:
            return None
        spans[name] = start, position
    return spans


def _runs_of(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Join adjacent spans, which must be in order."""
    runs: list[Span] = []
    for start, end in spans:
        if runs and runs[-1][1] == start:
            runs[-1] = runs[-1][0], end
        else:
            runs.append((start, end))
    return tuple(runs)


@lru_cache(maxsize=8)
def _patterns(
    indent: str, newline: str
) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Return patterns for an entry, for a line below its name, and for the start of an entry."""
    deeper = rf"{indent} +"
    plain = rf"{_PLAIN}(?:{newline}{deeper}[{_LETTER}0-9]{_WORDS})*"
    value = rf"(?:{_OTHER}|{plain})(?={newline})"
    lines = rf"(?:{deeper}(?:(?:{_NAME}):(?: {value})?|- {value}){newline})+"
    return (
        # An entry, directly before another key in the same column.
        re.compile(rf"{indent}({_NAME}):{newline}({lines})(?={indent}[^\s#])"),
        # A line: indentation; a dash, a key, or nothing in a continued text; " " before a value.
        re.compile(r"^( +)(-|(?:[A-Za-z0-9_./-]+|'[^']+'):(?=[ \r\n])|)( ?)", re.MULTILINE),
        re.compile(rf"\n{indent}(?=[^\s#])"),
    )


def _is_mapping(lines: Sequence[tuple[str, ...]], column: int) -> bool:
    """Return whether indentation and keys make a mapping below a name in this column.

    Args:
        lines: the indentation of each line, then a dash, a key or nothing, then " " if a value
            follows.
    """
    # The open blocks: the column, and the keys of a mapping (None for a list).
    blocks: list[tuple[int, set[str] | None]] = []
    pending_key: int | None = column  # the column of a key that has no value yet
    previous = column
    for indent, mark, has_value in lines:
        indentation = len(indent)
        is_item = mark == "-"
        # 1. The line continues a text.
        if not mark:
            if indentation <= previous:
                return False
            continue
        # 2. The line is the first of a block: the value of the key above it.
        if pending_key is not None and (
            indentation > pending_key or (is_item and indentation == pending_key > column)
        ):
            if is_item and (not blocks or indentation - pending_key > MAX_INDENT):
                return False
            blocks.append((indentation, None if is_item else set()))
        # 3. The line is the next of an open block, and closes the blocks inside that.
        else:
            while blocks and (
                blocks[-1][0] > indentation or (blocks[-1] == (indentation, None) and not is_item)
            ):
                blocks.pop()
        if not blocks or blocks[-1][0] != indentation or (blocks[-1][1] is None) != is_item:
            return False
        keys = blocks[-1][1]
        if keys is not None:
            name = mark[:-1].strip("'")
            if name in keys:
                return False
            keys.add(name)
        pending_key = None if is_item or has_value else indentation
        previous = indentation
    return True
