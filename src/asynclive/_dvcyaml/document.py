"""Parses a dvc.yaml into its data, the lines of its artifact entries, and its style.

ruamel.yaml is imported on first use, so that importing asynclive stays cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .entry_lines import KEY, EntryPieces, Spans, locate
from .fast_scan import scan_regular_entries
from .rendering import Style, detect_style


class DocumentError(ValueError):
    """The text cannot be merged into. The message completes "dvc.yaml ..."."""


@dataclass(frozen=True)
class Document:
    """A dvc.yaml that was read, or one that was written and is known without reading it."""

    text: str
    data: dict[Any, Any]
    """The data as DVC reads it, without the unparsed entries."""
    pieces: EntryPieces | None
    """None if the lines of the entries cannot be separated from other text."""
    style: Style
    newline: str
    foreign: frozenset[str] = frozenset()
    """Entries in ``pieces`` that other programs wrote and that are not regular."""
    unparsed: frozenset[str] = frozenset()
    """Entries in ``pieces`` that are regular and unchanged, and were not parsed."""
    is_verified: bool = False
    """Whether a text made from this one by exchanging lines was read back and was right."""

    @property
    def entries(self) -> dict[Any, Any]:
        """The entries that were parsed."""
        return self.data.get(KEY) or {}  # null is an empty mapping

    def with_same_end(self, merged: str) -> str:
        """Remove the last line end of ``merged`` if this text has none."""
        return merged if _is_ended(self.text) else merged.removesuffix(self.newline)


def parse(text: str) -> Document:
    """Parse a dvc.yaml, except its regular entries if there are many.

    Raises:
        DocumentError: the text is no dvc.yaml that can be merged into. The message says why.
    """
    newline = _newline(text)
    regular = scan_regular_entries(text, newline)
    if regular is None:
        return parse_whole(text)
    try:
        data, rest, style = _read(regular.rest, newline)
    except DocumentError:
        return parse_whole(text)  # its error has the line number of the whole text
    spans = rest and regular.spans_in_document(rest)
    # A merge key may add entries with the names of unparsed ones, which must win.
    if not spans or not regular.entries.keys().isdisjoint(data[KEY]):
        return parse_whole(text)
    pieces = EntryPieces.of(_ended(text, newline), spans, newline)
    unparsed = frozenset(regular.entries)
    foreign = frozenset(pieces.index) - unparsed
    return Document(text, data, pieces, style, newline, foreign, unparsed)


def parse_whole(text: str) -> Document:
    """Do the same as ``parse``, but parse each entry, which takes some milliseconds each."""
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
    """Return the text with a line end after its last line, so that lines can be appended."""
    return text if _is_ended(text) else text + newline


def _read(text: str, newline: str) -> tuple[dict[Any, Any], Spans | None, Style]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    # pure: libyaml's parser gives no marks by character.
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
        # Locate first: constructing the data moves the nodes that merge keys name.
        spans = locate(_ended(text, newline), root)
        style = detect_style(root, yaml.version)
        data = _construct(yaml, root, text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f" (line {mark.line + 1})"
        # Only the first line of the problem: the rest is advice on the API of ruamel.yaml.
        problem = (error.problem or "").partition("\n")[0]
        problem = ", ".join(filter(None, (error.context, problem)))
        raise DocumentError(f"is not valid YAML{where}: {problem}.") from error
    except Exception as error:  # on odd documents ruamel.yaml raises more than YAMLError
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
    """Return the data as DVC reads it: with libyaml if ruamel.yaml.clib is installed.

    libyaml reads some texts differently (``%YAML 1.1``, ``{a: :0}``). If DVC uses it, its data
    counts. Otherwise DVC gets the same nodes, and no second parse is needed.
    """
    from ruamel.yaml import YAML

    dvc = YAML(typ="safe")
    if dvc.Parser is not yaml.Parser:
        return dvc.load(text)
    return None if root is None else yaml.constructor.construct_document(root)
