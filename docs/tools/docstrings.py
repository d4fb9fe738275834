"""Docstrings are written to be read as they are; this turns their few marks into Markdown.

The page needs three changes: ``:meth:`` becomes code, ``Example::`` a heading of the code below it,
and ``Cancellation:``, which is no section that the parser knows, a paragraph of its own. And a
default that has a private name, by which it is told apart, is shown as what it is.
"""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

from griffe import ExprCall, Extension, Function, Object

_PRIVATE = re.compile(r"_[A-Z_]+$")
_ROLE = re.compile(r":(meth|class|func|attr):`~?([\w.]+)`")
_EXAMPLE = re.compile(r"^Example::\n\n((?:(?:    .*)?\n)+)", re.MULTILINE)
_CANCELLATION = re.compile(r"^Cancellation: (.*(?:\n    .*)*)", re.MULTILINE)


class Docstrings(Extension):
    """Loaded by mkdocstrings, see ``mkdocs.yml``."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)

    def on_function(self, *, func: Function, **_: Any) -> None:
        for parameter in func.parameters:
            default = str(parameter.default)
            if _PRIVATE.match(default):
                value = func.module[default].value
                parameter.default = value.arguments[0] if isinstance(value, ExprCall) else value


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
