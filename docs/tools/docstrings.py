"""Docstrings are written to be read as they are; this turns their few marks into Markdown.

The page needs three changes: ``:meth:`` becomes a link, ``Example::`` a heading of the code below
it, and ``Cancellation:``, which is no section that the parser knows, a paragraph of its own.
"""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":(meth|class|func|attr):`~?([\w.]+)`")
_EXAMPLE = re.compile(r"^Example::\n\n((?:(?:    .*)?\n)+)", re.MULTILINE)
_CANCELLATION = re.compile(r"^Cancellation: (.*(?:\n    .*)*)", re.MULTILINE)


class Docstrings(Extension):
    """Loaded by mkdocstrings, see ``mkdocs.yml``."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    text = _ROLE.sub(_named, text + "\n")
    text = _EXAMPLE.sub(_example, text)
    return _CANCELLATION.sub(_cancellation, text).rstrip()


def _example(found: re.Match[str]) -> str:
    return f"**Example**\n\n```python\n{dedent(found[1]).strip()}\n```\n\n"


def _cancellation(found: re.Match[str]) -> str:
    return f"**Cancellation:** {dedent(f'    {found[1]}')}"


def _named(found: re.Match[str]) -> str:
    """The name as it is said; what can be called is."""
    return f"`{found[2]}{'()' if found[1] in ('meth', 'func') else ''}`"
