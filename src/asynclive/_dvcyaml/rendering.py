"""How a dvc.yaml is written: for the lines that are new in it.

ruamel.yaml is imported on first use: importing asynclive stays cheap.
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

# Line breaks in one version of YAML or the other, and the BOM: read back intact only where they
# are escaped, which ruamel.yaml does in double quotes alone.
_NEEDS_ESCAPE = re.compile("[\x85\u2028\u2029\ufeff]")


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

    def render_plain(self, entries: Entries) -> dict[str, str]:
        """Return the lines of those that are plain, as ``render`` would."""
        if self.version is not None:
            return {}
        found = {
            name: render_plain(name, entry, indent=self.mapping_indent, dash=self.dash_offset)
            for name, entry in entries.items()
        }
        return {name: lines for name, lines in found.items() if lines}

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


def detect_style(root: Any, version: Any) -> Style:
    """Take indentation from what is there: from ``artifacts:`` first, else from the rest."""
    style = Style(version=version)
    if root is None or not is_block(root, "mapping"):
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
    """Return how much further right ``value`` starts, if it starts on a line of its own."""
    if value.start_mark.line <= key.start_mark.line:
        return None
    indent = int(value.start_mark.column - key.start_mark.column)
    return indent if 0 <= indent <= MAX_INDENT else None


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
