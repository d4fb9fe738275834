"""A dvc.yaml as text: where its artifact entries stand, and how it is written.

Found by the marks of ruamel.yaml's nodes. ruamel.yaml is imported on first use: importing
asynclive stays cheap.
"""

from __future__ import annotations

import dataclasses
import datetime
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Entries = Mapping[str, Mapping[str, Any]]

KEY = "artifacts"
_NULL_TAG = "tag:yaml.org,2002:null"
_STR_TAG = "tag:yaml.org,2002:str"
# Line breaks in one version of YAML or the other, and the BOM: read back intact only where they
# are escaped, which ruamel.yaml does in double quotes alone.
_NEEDS_ESCAPE = re.compile("[\x85\u2028\u2029\ufeff]")
# Indentation beyond this is an alignment of one value, not the document's habit.
_MAX_INDENT = 8


class DocumentError(ValueError):
    """The text cannot be merged into; the message completes "dvc.yaml ..."."""


@dataclass(frozen=True)
class Place:
    """Where ``artifacts:`` stands, as offsets into the text. Spans are of whole lines."""

    entries: dict[str, tuple[int, int]]
    """Span of each entry, less the comments and blank lines that follow it."""
    end: int
    """Where new entries go."""
    column: int
    """Of the key ``artifacts``."""
    has_key: bool
    cut: tuple[int, int] | None = None
    """An empty value (``null``, ``{}``) that has to make room."""


@dataclass(frozen=True)
class Style:
    """How this document is written, for the lines that are new in it."""

    mapping_indent: int = 2
    dash_offset: int = 0
    version: Any = None

    def yaml(self) -> Any:
        from ruamel.yaml import YAML

        yaml = YAML()
        yaml.default_flow_style = False
        yaml.indent(
            mapping=self.mapping_indent, sequence=self.dash_offset + 2, offset=self.dash_offset
        )
        yaml.version = self.version
        return yaml

    def render(self, entries: Entries) -> dict[str, str]:
        """Return the lines of each entry, indented as below ``artifacts:`` in column 0."""
        yaml = self.yaml()
        lines = {}
        for name, entry in entries.items():
            stream = io.StringIO()
            # Dumped below its key, so that long lines are folded where DVCLive folds them.
            yaml.dump({KEY: {escaped(name): escaped(entry)}}, stream)
            lines[name] = stream.getvalue().partition(f"{KEY}:\n")[2]
        return lines


@dataclass(frozen=True)
class Document:
    text: str
    data: dict[Any, Any]
    """As DVC reads it."""
    place: Place | None
    """None if the lines of the entries cannot be told from others."""
    style: Style
    new_lines: str = ""
    """Those that a splice has put in, as they stand below ``artifacts:`` in column 0."""

    @property
    def newline(self) -> str:
        return "\r\n" if "\r\n" in self.text else "\n"

    @property
    def lines(self) -> str:
        """The text with a line end after its last line, so that more can follow."""
        return self.text if self._ended else self.text + self.newline

    def ended_alike(self, merged: str) -> str:
        """Drop the last line end if this text has none."""
        return merged if self._ended else merged.removesuffix(self.newline)

    @property
    def _ended(self) -> bool:
        return self.text == "" or self.text.endswith("\n")


def parse(text: str) -> Document:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    # pure: only this parser gives marks by character.
    yaml = YAML(typ="safe", pure=True)
    document = Document(text, {}, None, Style())
    try:
        root = yaml.compose(text)
        # Before the data: constructing moves the nodes that merge keys name.
        place = _locate(document.lines, root)
        style = _detect_style(root, yaml.version)
        data = _construct(yaml, root, text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f" (line {mark.line + 1})"
        # Of the problem one line: the rest is ruamel.yaml's advice on its own API.
        problem = (error.problem or "").partition("\n")[0]
        problem = ", ".join(filter(None, (error.context, problem)))
        raise DocumentError(f"is not valid YAML{where}: {problem}.") from error
    except Exception as error:  # ruamel.yaml lets more than YAMLError out on odd documents
        reason = " ".join(str(error).split())
        raise DocumentError(f"is not valid YAML: {reason or type(error).__name__}.") from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise DocumentError(f"holds a {type(data).__name__}, not a mapping, at its top level.")
    if not isinstance(data.get(KEY, {}), (dict, type(None))):
        kind = type(data[KEY]).__name__
        raise DocumentError(f"holds a {kind}, not a mapping, under '{KEY}:'.")
    return dataclasses.replace(document, data=data, place=place, style=style)


def _construct(yaml: Any, root: Any, text: str) -> Any:
    """Return the data as DVC reads it: with libyaml where ruamel.yaml.clib is installed.

    libyaml differs in corners (``%YAML 1.1``, ``{a: :0}``), so where it is what DVC
    has, it is what must agree. Otherwise the nodes are the same, and need no second parse.
    """
    from ruamel.yaml import YAML

    dvc = YAML(typ="safe")
    if dvc.Parser is not yaml.Parser:
        return dvc.load(text)
    return None if root is None else yaml.constructor.construct_document(root)


def _locate(text: str, root: Any) -> Place | None:
    """Find the lines of ``artifacts:``; None if they are not in block style."""
    if root is None:
        return Place({}, len(text), column=0, has_key=False)
    if _is_empty(root):
        return Place(
            {}, _line_end(text, root.end_mark.index), 0, has_key=False, cut=_cut(text, root)
        )
    if not _is_block(root, "mapping"):
        return None
    column = root.value[0][0].start_mark.column
    for key, value in root.value:  # noqa: B007  used below, after the break
        if key.id == "scalar" and key.value == KEY:
            break
    else:
        # After the comments that end the document, before a "..." that ends it too.
        return Place({}, _line_end(text, root.end_mark.index), column, has_key=False)
    if _is_empty(value):
        end = _line_end(text, value.end_mark.index)
        return Place({}, end, column, has_key=True, cut=_cut(text, value))
    if not _is_block(value, "mapping"):
        return None
    starts = [_line_start(text, name.start_mark.index) for name, _ in value.value]
    limits = [*starts[1:], _line_start(text, value.end_mark.index)]
    if not text[value.end_mark.index :].strip():
        limits[-1] = len(text)  # the end of the text may be the end of the last entry's line
    spans = {}
    end = 0
    for (name, entry), start, limit in zip(value.value, starts, limits, strict=True):
        end = _strip_comments(text, limit, _content_end(text, start, limit, entry))
        if name.tag == _STR_TAG:
            # Blank lines stay, to go on setting entries apart, though they were a scalar's own.
            spans[name.value] = (start, _strip_comments(text, end, start, comments=False))
    return Place(spans, end, column, has_key=True)


def _is_block(node: Any, kind: str) -> bool:
    return node.id == kind and not node.flow_style and bool(node.value)


def _is_empty(node: Any) -> bool:
    if node.id == "mapping":
        return bool(node.flow_style) and not node.value
    return bool(node.id == "scalar" and node.tag == _NULL_TAG)


def _cut(text: str, node: Any) -> tuple[int, int]:
    start, end = node.start_mark.index, node.end_mark.index
    line = _line_start(text, start), _line_end(text, end)
    if start < end and text[slice(*line)].strip() == text[start:end]:
        return line  # it stands alone
    return len(text[:start].rstrip(" \t")), end


def _content_end(text: str, start: int, limit: int, node: Any) -> int:
    """Return where comments may begin: no "#" and no blank line before it is one."""
    while node.id != "scalar" and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if node.id == "mapping" else last
    end = int(node.end_mark.index)
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


def _detect_style(root: Any, version: Any) -> Style:
    """Take indentation from what is there: from ``artifacts:`` first, else from the rest."""
    style = Style(version=version)
    if root is None or not _is_block(root, "mapping"):
        return style
    # A stack: its end is looked at first.
    nodes = sorted(root.value, key=lambda pair: bool(pair[0].value == KEY))
    mapping_indent = dash_offset = None
    seen = set()  # aliases may lead in circles
    while nodes and (mapping_indent is None or dash_offset is None):
        key, value = nodes.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if _is_block(value, "mapping"):
            if mapping_indent is None:
                mapping_indent = _indent(key, value.value[0][0])
            nodes.extend(reversed(value.value))
        elif _is_block(value, "sequence"):
            if dash_offset is None:
                dash_offset = _indent(key, value)
            nodes.extend(
                pair for item in value.value if _is_block(item, "mapping") for pair in item.value
            )
    return dataclasses.replace(
        style, mapping_indent=mapping_indent or 2, dash_offset=dash_offset or 0
    )


def _indent(key: Any, value: Any) -> int | None:
    """Return how much further right ``value`` starts, if it starts on a line of its own."""
    if value.start_mark.line <= key.start_mark.line:
        return None
    indent = int(value.start_mark.column - key.start_mark.column)
    return indent if 0 <= indent <= _MAX_INDENT else None


def escaped(value: Any) -> Any:
    """Copy a value as ruamel.yaml has to be given it to be read back equal."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, str):
        return DoubleQuotedScalarString(value) if _NEEDS_ESCAPE.search(value) else value
    # Copies share nothing, so no anchors appear for a list or a date that occurs twice.
    if isinstance(value, Mapping):
        return {escaped(key): escaped(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [escaped(item) for item in value]
    if isinstance(value, datetime.datetime) and (offset := value.utcoffset()) is not None:
        if offset % datetime.timedelta(minutes=1):  # YAML knows offsets of whole minutes
            return value.astimezone(datetime.timezone.utc)
        return value.replace(tzinfo=datetime.timezone(offset), fold=0)
    if isinstance(value, datetime.date):
        return value.replace()
    return value
