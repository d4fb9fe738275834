"""A dvc.yaml as text: its data, where its artifact entries stand, and how it is written.

ruamel.yaml is imported on first use: importing asynclive stays cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .entry_lines import KEY, EntryPieces, Spans, locate
from .fast_scan import scan_regular_entries
from .rendering import Style, detect_style


class DocumentError(ValueError):
    """The text cannot be merged into; the message completes "dvc.yaml ..."."""


@dataclass(frozen=True)
class Document:
    text: str
    data: dict[Any, Any]
    """As DVC reads it, less the entries that were skimmed off."""
    pieces: EntryPieces | None
    """None if the lines of the entries cannot be told from others."""
    style: Style
    newline: str
    foreign: frozenset[str] = frozenset()
    """Those of the entries in ``pieces`` that others wrote, and that are not regular."""
    unparsed: frozenset[str] = frozenset()
    """Those of them that were not parsed, since they are regular, and are as they were."""
    is_verified: bool = False
    """Whether a text made by exchanging some of its lines was read back."""

    @property
    def entries(self) -> dict[Any, Any]:
        """Those that were not skimmed off."""
        return self.data.get(KEY) or {}  # null is an empty mapping

    def with_same_end(self, merged: str) -> str:
        """Drop the last line end if this text has none."""
        return merged if _is_ended(self.text) else merged.removesuffix(self.newline)


def parse(text: str) -> Document:
    """Parse what is not regular in it.

    Raises:
        DocumentError: it is not a dvc.yaml that could be merged into; says why.
    """
    newline = _newline(text)
    skimmed = scan_regular_entries(text, newline)
    if skimmed is None:
        return parse_whole(text)
    try:
        data, rest, style = _read(skimmed.rest, newline)
    except DocumentError:
        return parse_whole(text)  # for the right number of the line
    spans = rest and skimmed.spans_in_document(rest)
    # A merge key may bring names that are hidden by what was skimmed off.
    if not spans or not skimmed.entries.keys().isdisjoint(data[KEY]):
        return parse_whole(text)
    pieces = EntryPieces.of(_ended(text, newline), spans, newline)
    away = frozenset(skimmed.entries)
    return Document(text, data, pieces, style, newline, frozenset(pieces.index) - away, away)


def parse_whole(text: str) -> Document:
    """As ``parse``, entry by entry: that takes some milliseconds each."""
    newline = _newline(text)
    data, spans, style = _read(text, newline)
    if spans is None:
        return Document(text, data, None, style, newline)
    pieces = EntryPieces.of(_ended(text, newline), spans, newline)
    return Document(text, data, pieces, style, newline, foreign=frozenset(pieces.index))


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _is_ended(text: str) -> bool:
    return text == "" or text.endswith("\n")


def _ended(text: str, newline: str) -> str:
    """The text with a line end after its last line, so that more can follow."""
    return text if _is_ended(text) else text + newline


def _read(text: str, newline: str) -> tuple[dict[Any, Any], Spans | None, Style]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    # pure: only this parser gives marks by character.
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
        # Before the data: constructing moves the nodes that merge keys name.
        spans = locate(_ended(text, newline), root)
        style = detect_style(root, yaml.version)
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
    return data, spans, style


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
