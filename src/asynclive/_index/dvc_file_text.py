"""Writes the text of .dvc files from templates. DVC writes each template once.

DVC spends most of the time for a .dvc file in ruamel.yaml, and twice as much if the file exists: it
parses the old text to keep comments. If YAML writes all values without quotes, two files with the
same keys have the same text around the values.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Shape = tuple[Any, ...]

# YAML reads this as a string and writes it without quotes, unless it is in _WORDS: it has a letter
# that no number has, no space, and no sign at its start.
_PLAIN = re.compile(r"(?=.*[g-np-wyzG-NP-WYZ])[A-Za-z0-9_][A-Za-z0-9_./-]*")
_WORDS = frozenset({"false", "inf", "n", "nan", "no", "null", "off", "on", "true", "y", "yes"})
_HASH = re.compile(r"(?=.*[acdf])[0-9a-f]{32}(\.dir)?")
# A placeholder for a value, in the text of a shape.
_SLOT = re.compile(r"asyncliveslot\d+end")


class DvcText:
    """Writes the same text as ``dump``, from templates if possible.

    Args:
        dump: DVC's ``dumps_yaml``.
    """

    def __init__(self, dump: Callable[[Any], str]) -> None:
        self._dump = dump
        # The text around the values. There are few shapes: artifacts differ in annotations only.
        self._templates: dict[Shape, list[str]] = {}

    def dump(self, state: Any) -> str:
        """Return the text of a new .dvc file with this state (``Stage.dumpd``)."""
        shape, values = self.shape(state)
        return self._dump(state) if shape is None else self._fill(shape, values)

    def update(self, before: Any, text: str | None, after: Any) -> str | None:
        """Return the text for the state ``after`` of a file that has ``text`` and state ``before``.

        None if DVC has to read ``text``, because it has other data or another layout.
        """
        if text is None:
            return self.dump(after)
        old, old_values = self.shape(before)
        new, new_values = self.shape(after)
        if old is None or old != new or self._fill(old, old_values) != text:
            return None
        return self._fill(old, new_values)

    def shape(self, state: Any) -> tuple[Shape | None, list[str]]:
        """Separate ``state`` into its shape and its plain values.

        The shape is None if some value is not plain.
        """
        values: list[str] = []
        try:
            return _shape(state, values), values
        except _NotPlainError:
            return None, []

    def _fill(self, shape: Shape, values: list[str]) -> str:
        template = self._templates.get(shape)
        if template is None:
            slots = iter(range(len(values)))
            template = self._templates[shape] = _SLOT.split(self._dump(_with_slots(shape, slots)))
        return "".join(part for pair in zip(template, [*values, ""], strict=True) for part in pair)


class _NotPlainError(Exception):
    pass


def _shape(state: Any, values: list[str]) -> Shape:
    """Return the shape of ``state``, and append its plain values to ``values``."""
    kind = type(state)
    if kind is str and is_plain(state):
        values.append(state)
        return ("value",)
    if kind is int:
        values.append(str(state))
        return ("value",)
    if kind is bool:
        return ("bool", state)
    if kind is dict and all(type(key) is str and is_plain(key) for key in state):
        return ("dict", *((key, _shape(value, values)) for key, value in state.items()))
    if kind is list:
        return ("list", *(_shape(item, values) for item in state))
    raise _NotPlainError


def _with_slots(shape: Shape, slots: Any) -> Any:
    kind, *parts = shape
    if kind == "dict":
        return {key: _with_slots(value, slots) for key, value in parts}
    if kind == "list":
        return [_with_slots(item, slots) for item in parts]
    return parts[0] if kind == "bool" else f"asyncliveslot{next(slots)}end"


def is_plain(value: str) -> bool:
    """Return whether YAML writes the string without quotes and reads it back as a string."""
    if _HASH.fullmatch(value) is not None:
        return True
    return _PLAIN.fullmatch(value) is not None and value.lower() not in _WORDS
