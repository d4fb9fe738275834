"""Turn docstrings, which are written to be read in Python, into Markdown for the reference.

Three marks change: ``:meth:`` becomes code, ``Example::`` becomes a heading above a code block, and
``Cancellation:``, a section that the parser does not know, becomes a paragraph. A default value
that is a named constant is replaced by the value itself.
"""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

from griffe import ExprCall, Extension, Function, Object

_CONSTANT = re.compile(r"_?[A-Z][A-Z_]+$")
_ROLE = re.compile(r":(meth|class|func|attr):`~?([\w.]+)`")
_EXAMPLE = re.compile(r"^Example::\n\n((?:(?:    .*)?\n)+)", re.MULTILINE)
_CANCELLATION = re.compile(r"^Cancellation: (.*(?:\n    .*)*)", re.MULTILINE)


class Docstrings(Extension):
    """The extension that ``mkdocs.yml`` names."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)

    def on_function(self, *, func: Function, **_: Any) -> None:
        for parameter in func.parameters:
            default = str(parameter.default)
            if _CONSTANT.match(default):
                constant = func.module.all_members.get(default)
                if constant is None:  # griffe sees no names that are assigned together
                    continue
                if constant.is_alias:  # imported
                    constant = constant.final_target
                value = constant.value
                # Default("dvclive") shows as 'dvclive'; a marker such as object() keeps its name.
                if not isinstance(value, ExprCall):
                    parameter.default = value
                elif value.arguments:
                    parameter.default = value.arguments[0]


def as_markdown(text: str) -> str:
    text = _ROLE.sub(_named, text + "\n")
    text = _EXAMPLE.sub(_example, text)
    return _CANCELLATION.sub(_cancellation, text).rstrip()


def _example(found: re.Match[str]) -> str:
    return f"**Example**\n\n```python\n{dedent(found[1]).strip()}\n```\n\n"


def _cancellation(found: re.Match[str]) -> str:
    return f"**Cancellation:** {dedent(f'    {found[1]}')}"


def _named(found: re.Match[str]) -> str:
    """Return the name as code, with parentheses for functions."""
    return f"`{found[2]}{'()' if found[1] in ('meth', 'func') else ''}`"
