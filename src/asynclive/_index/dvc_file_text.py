"""The text of .dvc files: DVC's own, asked for once for all that differ in plain values alone.

Most of what it takes DVC to write a .dvc file is ruamel, twice where the file is there already:
its text is parsed first, to keep comments. Where the values are such that YAML writes them as
they are, two files with the same keys are the same text around them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Shape = tuple[Any, ...]

# No sign, no space and nothing that begins a number or a date: with a letter that no number
# has, and none of YAML's words, it is a string, and written without quotes.
_PLAIN = re.compile(r"(?=.*[g-np-wyzG-NP-WYZ])[A-Za-z0-9_][A-Za-z0-9_./-]*")
_WORDS = frozenset({"false", "inf", "n", "nan", "no", "null", "off", "on", "true", "y", "yes"})
_HASH = re.compile(r"(?=.*[acdf])[0-9a-f]{32}(\.dir)?")
# Stands for a value in the text of a shape.
_SLOT = re.compile(r"asyncliveslot\d+end")


class DvcText:
    """Writes what ``dump`` does.

    Args:
        dump: DVC's ``dumps_yaml``.
    """

    def __init__(self, dump: Callable[[Any], str]) -> None:
        self._dump = dump
        # The text around the values. There are few shapes; annotations are what they differ in.
        self._around: dict[Shape, list[str]] = {}

    def dump(self, state: Any) -> str:
        """The text of a .dvc file that says ``state`` (``Stage.dumpd``) and nothing else."""
        shape, values = self.shape(state)
        return self._dump(state) if shape is None else self._fill(shape, values)

    def update(self, before: Any, text: str | None, after: Any) -> str | None:
        """The text that says ``after`` in a file that said ``before`` by ``text``.

        None: DVC has to read the text, for it says more, or it may be laid out in another way.
        """
        if text is None:
            return self.dump(after)
        old, old_values = self.shape(before)
        new, new_values = self.shape(after)
        if old is None or old != new or self._fill(old, old_values) != text:
            return None
        return self._fill(old, new_values)

    def shape(self, state: Any) -> tuple[Shape | None, list[str]]:
        """What ``state`` is less its plain values, and those; None: not all of it is plain."""
        values: list[str] = []
        try:
            return _shape(state, values), values
        except _NotPlainError:
            return None, []

    def _fill(self, shape: Shape, values: list[str]) -> str:
        around = self._around.get(shape)
        if around is None:
            slots = iter(range(len(values)))
            around = self._around[shape] = _SLOT.split(self._dump(_with_slots(shape, slots)))
        return "".join(part for pair in zip(around, [*values, ""], strict=True) for part in pair)


class _NotPlainError(Exception):
    pass


def _shape(state: Any, values: list[str]) -> Shape:
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
    """Whether YAML writes the string as it is."""
    if _HASH.fullmatch(value) is not None:
        return True
    return _PLAIN.fullmatch(value) is not None and value.lower() not in _WORDS
