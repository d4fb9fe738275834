"""Writes the new lines of a dvc.yaml in the style of the document.

ruamel.yaml is imported on first use, so that importing asynclive stays cheap.
"""

from __future__ import annotations

import dataclasses
import datetime
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .entry_lines import KEY, MAX_INDENT, Entries, is_block
from .plain_rendering import render_plain

# Line breaks in some version of YAML, and the BOM. They are read back intact only if they are
# escaped, and ruamel.yaml escapes them only in double quotes.
_NEEDS_ESCAPE = re.compile("[\x85\u2028\u2029\ufeff]")


@dataclass(frozen=True)
class Style:
    """The indentation and YAML version of a document, used for its new lines."""

    mapping_indent: int = 2
    """Columns from a key to the keys below it."""
    dash_offset: int = 0
    """Columns from a key to the dashes below it."""
    version: Any = None
    """The version of a ``%YAML`` directive; None without one."""

    def yaml(self) -> Any:
        """Return a ``ruamel.yaml.YAML`` that writes in this style."""
        from ruamel.yaml import YAML

        yaml = YAML()
        yaml.default_flow_style = False
        yaml.indent(
            mapping=self.mapping_indent, sequence=self.dash_offset + 2, offset=self.dash_offset
        )
        yaml.version = self.version
        return yaml

    def render_plain(self, entries: Entries) -> dict[str, str]:
        """Return the lines of the plain entries, the same as ``render`` returns."""
        if self.version is not None:
            return {}
        rendered = {
            name: render_plain(name, entry, indent=self.mapping_indent, dash=self.dash_offset)
            for name, entry in entries.items()
        }
        return {name: lines for name, lines in rendered.items() if lines}

    def render(self, entries: Entries) -> dict[str, str]:
        """Return the lines of each entry, indented as below ``artifacts:`` in column 0."""
        yaml = self.yaml()
        lines = {}
        for name, entry in entries.items():
            stream = io.StringIO()
            # Dump it below the key, so that long lines are folded where DVCLive folds them.
            yaml.dump({KEY: {escape(name): escape(entry)}}, stream)
            lines[name] = stream.getvalue().partition(f"{KEY}:\n")[2]
        return lines


def detect_style(root: Any, version: Any) -> Style:
    """Return the style of a document: first from its ``artifacts:``, then from other keys."""
    style = Style(version=version)
    if root is None or not is_block(root, "mapping"):
        return style
    # A stack: ``artifacts:``, at its end, comes first.
    nodes = sorted(root.value, key=lambda pair: bool(pair[0].value == KEY))
    mapping_indent = dash_offset = None
    seen = set()  # aliases may form a circle
    while nodes and (mapping_indent is None or dash_offset is None):
        key, value = nodes.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if is_block(value, "mapping"):
            if mapping_indent is None:
                mapping_indent = _indent(key, value.value[0][0])
            nodes.extend(reversed(value.value))
        elif is_block(value, "sequence"):
            if dash_offset is None:
                dash_offset = _indent(key, value)
            nodes.extend(
                pair for item in value.value if is_block(item, "mapping") for pair in item.value
            )
    return dataclasses.replace(
        style, mapping_indent=mapping_indent or 2, dash_offset=dash_offset or 0
    )


def _indent(key: Any, value: Any) -> int | None:
    """Return the columns from key to value; None if the value starts on the line of the key."""
    if value.start_mark.line <= key.start_mark.line:
        return None
    indent = int(value.start_mark.column - key.start_mark.column)
    return indent if 0 <= indent <= MAX_INDENT else None


def escape(value: Any) -> Any:
    """Return a copy that is read back equal when ruamel.yaml writes it."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, str):
        return DoubleQuotedScalarString(value) if _NEEDS_ESCAPE.search(value) else value
    # The copies share no objects: ruamel.yaml writes an anchor for an object that occurs twice.
    if isinstance(value, Mapping):
        return {escape(key): escape(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [escape(item) for item in value]
    if isinstance(value, datetime.datetime) and (offset := value.utcoffset()) is not None:
        if offset % datetime.timedelta(minutes=1):  # YAML has only offsets of whole minutes
            return value.astimezone(datetime.timezone.utc)
        return value.replace(tzinfo=datetime.timezone(offset), fold=0)
    if isinstance(value, datetime.date):
        return value.replace()
    return value
