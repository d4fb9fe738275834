"""Regular entries of a dvc.yaml: found by their lines, so that thousands need no YAML parser.

ruamel.yaml takes some milliseconds an entry to parse. Nearly all entries of a large dvc.yaml are
as DVCLive and we write them: block style, one plain or quoted value a line. Those are found
here by regular expressions, and only what is left is parsed: a document of some lines.

This is sound for entries of block style, since YAML's parsers keep no memory of one:

- Nothing in a regular entry reaches out of it: no anchor, alias, tag, merge key, comment, tab, or
  line break but the document's own. Its values can be constructed in every version of YAML,
  whichever type they resolve to. Its keys are strings and differ.
- A regular entry is directly followed by the key of another entry that is parsed, or by more
  regular ones and then that key. Where the rest of the document has a key of ``artifacts:``,
  the parser expects the next key in just that column: whatever was open before is closed. An
  entry put there is read as an entry, and leaves the parser as it found it.

So the document is the rest with these entries put in.
:meth:`RegularEntries.spans_in_document` looks whether each of them stands before such a key; where
one does not (they were lines of a quoted text), nothing of this is used.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from .entry_lines import KEY, MAX_INDENT, Span, Spans

# Below, the parser is quick enough.
MIN_ENTRIES = 16

_LETTER = "A-Za-z\u00c0-\u167f\u3041-\ud7a3"
# Inside a plain text: no "#", no quotation marks but "'", no brackets, no control characters.
_INSIDE = rf"{_LETTER}0-9_./+=@%,;()'!?&~^*|<>$-"
_WORDS = rf"[{_INSIDE}]*(?:[ :][{_INSIDE}]+)*"
# Begins with a letter, a relative or absolute path, or digits and has a "/": a str, or one of
# the words for booleans and null.
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
# Not what some version of YAML takes for a boolean or null. Short enough for a key.
_NAME = (
    r"(?!(?i:y|n|yes|no|on|off|true|false|null):)[A-Za-z_][A-Za-z0-9_./-]{0,127}"
    r"|'[ -&(-~]{1,128}'"
)


@dataclass(frozen=True)
class RegularEntries:
    """A document in two parts."""

    rest: str
    """All but the regular entries. The first entry is always in it, so is the last, and the
    first that has a list: they tell how the document is written."""
    runs: tuple[Span, ...]
    """Where regular entries follow each other in the document, in order."""
    entries: dict[str, Span]
    """Where each of them stands in the document."""

    def spans_in_document(self, rest: Spans) -> Spans | None:
        """Return the spans of the document from those of the rest; None if nothing fits."""
        removed = [0, *accumulate(end - start for start, end in self.runs)]
        at = [start - gone for (start, _), gone in zip(self.runs, removed, strict=False)]
        starts = {start for start, _ in rest.entries.values()}
        if rest.column or not starts.issuperset(at):
            return None
        if not self.entries.keys().isdisjoint(rest.entries):
            return None
        spans = dict(self.entries)
        for name, (start, end) in rest.entries.items():
            gone = removed[bisect_right(at, start)]
            spans[name] = start + gone, end + gone
        ordered = dict(sorted(spans.items(), key=lambda item: item[1]))
        return Spans(ordered, rest.end + removed[-1], rest.column, rest.has_key)


def scan_regular_entries(text: str, newline: str) -> RegularEntries | None:
    """Part the regular entries from the rest; None where that is not worth it, or not certain.

    Only what the YAML parser says of the rest tells whether these are entries at all.
    """
    if text.startswith("%") or "\n%" in text:
        return None  # a directive may change what values mean
    # Each of these searches is one step for the interpreter, and no other thread runs meanwhile:
    # a line end to begin with is found ten times as fast as "^".
    head = re.compile(rf"{KEY}: *(?:#.*)?(?={newline})")
    top = head.match(text) or re.compile(rf"\n{head.pattern}").search(text)
    first = top and re.compile(r"\n( +)[^ #\r\n]").search(text, top.end())
    if not top or not first or len(first[1]) > MAX_INDENT:
        return None
    after = re.compile(r"\n[^\s#]").search(text, top.end())
    end = after.start() + 1 if after else len(text)
    # A merge key among the entries adds names, and lets the parser accept a name twice.
    if re.compile(rf"\n{first[1]}<< *:").search(text, top.end(), end):
        return None
    start_of_first = first.start() + 1
    entry, line, key = _patterns(first[1], newline)
    found: dict[str, Span] = {}
    runs: list[list[int]] = []
    sound: dict[tuple[tuple[str, ...], ...], bool] = {}
    listed = False
    position = start_of_first
    while position < end:
        match = entry.match(text, position, end)
        if match is None:
            following = key.search(text, position, end)
            position = following.start() + 1 if following else end
            continue
        start, position = match.span()
        shape = tuple(line.findall(match[2]))
        if shape not in sound:
            sound[shape] = _is_sound(shape, len(first[1]))
        has_list = not listed and any(mark == "-" for _, mark, _ in shape)
        name = match[1].strip("'")
        if start == start_of_first or has_list or not sound[shape]:
            listed = listed or (has_list and sound[shape])
        elif name in found:
            return None
        else:
            found[name] = start, position
            if runs and runs[-1][1] == start:
                runs[-1][1] = position
            else:
                runs.append([start, position])
    if len(found) < MIN_ENTRIES:
        return None
    bounds = [0, *(bound for run in runs for bound in run), len(text)]
    rest = "".join(text[a:b] for a, b in zip(bounds[::2], bounds[1::2], strict=True))
    return RegularEntries(rest, tuple((a, b) for a, b in runs), found)


@lru_cache(maxsize=8)
def _patterns(
    indent: str, newline: str
) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Return what matches an entry, the lines below its name, and the line end before an entry."""
    deeper = rf"{indent} +"
    plain = rf"{_PLAIN}(?:{newline}{deeper}[{_LETTER}0-9]{_WORDS})*"
    value = rf"(?:{_OTHER}|{plain})(?={newline})"
    lines = rf"(?:{deeper}(?:(?:{_NAME}):(?: {value})?|- {value}){newline})+"
    return (
        # Directly before another key, in the same column.
        re.compile(rf"{indent}({_NAME}):{newline}({lines})(?={indent}[^\s#])"),
        # Indentation; a dash, a key, or nothing for a text that goes on; whether a value follows.
        re.compile(r"^( +)(-|(?:[A-Za-z0-9_./-]+|'[^']+'):(?=[ \r\n])|)( ?)", re.MULTILINE),
        re.compile(rf"\n{indent}(?=[^\s#])"),
    )


def _is_sound(lines: Sequence[tuple[str, ...]], column: int) -> bool:
    """Whether indentation and keys make a mapping below a name in this column.

    Args:
        lines: of each its indentation, its dash or key or nothing, and whether a value follows.
    """
    blocks: list[tuple[int, set[str] | None]] = []  # open ones: column, and keys of a mapping
    opening: int | None = column  # of the key that has no value yet
    above = column
    for indent, mark, filled in lines:
        here = len(indent)
        is_item = mark == "-"
        if not mark:
            if here <= above:
                return False
            continue
        if opening is not None and (here > opening or (is_item and here == opening > column)):
            if is_item and (not blocks or here - opening > MAX_INDENT):
                return False
            blocks.append((here, None if is_item else set()))
        else:
            while blocks and (blocks[-1][0] > here or (blocks[-1] == (here, None) and not is_item)):
                blocks.pop()
        if not blocks or blocks[-1][0] != here or (blocks[-1][1] is None) != is_item:
            return False
        keys = blocks[-1][1]
        if keys is not None:
            name = mark[:-1].strip("'")
            if name in keys:
                return False
            keys.add(name)
        opening = None if is_item or filled else here
        above = here
    return True
