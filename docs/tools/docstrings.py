"""Docstrings are written to be read as they are; this turns their few marks into Markdown.

The page needs three changes: ``:meth:`` becomes a link, ``Example::`` a heading of the code below
it, and ``Cancellation:``, which is no section that the parser knows, a paragraph of its own.
"""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":(?:meth|class|func|attr):`~?([\w.]+)`")
_EXAMPLE = re.compile(r"^Example::\n\n((?:(?:    .*)?\n)+)", re.MULTILINE)
_CANCELLATION = re.compile(r"^Cancellation: (.*(?:\n    .*)*)", re.MULTILINE)


class Docstrings(Extension):
    """Loaded by mkdocstrings, see ``mkdocs.yml``."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    text = _ROLE.sub(lambda found: f"`{_called(found[1])}`", text + "\n")
    text = _EXAMPLE.sub(lambda found: f"**Example**\n\n```python\n{dedent(found[1]).strip()}\n```\n\n", text)
    return _CANCELLATION.sub(lambda found: f"**Cancellation:** {dedent('    ' + found[1])}", text).rstrip()


def _called(name: str) -> str:
    """``AsyncLive.submit`` as it is said; a method is called."""
    return name if name.rpartition(".")[2][:1].isupper() else f"{name}()"
