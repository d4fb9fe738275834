"""Checks what a caller wants written beside an artifact, and copies it; no I/O.

A value is accepted when YAML holds it and DVC reads it back equal. It is copied into plain
types (a numpy float becomes a float, a tuple a list), so that nothing the caller does
afterwards, and no alias inside it, reaches dvc.yaml.
"""

from __future__ import annotations

import datetime
import re
import reprlib
from typing import Any, NoReturn

from .._errors import InvalidArtifactNameError, InvalidMetadataError

# The rule of the model registry (gto.constants.name_re), to the end of the string.
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-/_]*[a-zA-Z0-9])?")
_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9\-/_]+")

# Deeper, or more, is a mistake (a whole model, a cycle, an alias bomb), and ruamel.yaml
# recurses once a level: refuse while it still costs nothing. It takes seconds to write and read
# back this much, and while it does DVC's lock is held.
_MAX_DEPTH = 64
_MAX_VALUES = 10_000
_MAX_CHARACTERS = 1_000_000
# Python refuses to print longer integers.
_MAX_INT_BITS = 10_000
_BITS_PER_DIGIT = 3
# A version's Git tag is a file of this name.
_MAX_NAME = 255

_INSTEAD = "Save it to a file and log that."
_HOLDS = "str, int, float, bool, None, bytes, date, datetime, list or dict"


def check_name(name: str) -> str:
    """Return ``name`` if the model registry takes it.

    Raises:
        InvalidArtifactNameError: it does not.
    """
    if not isinstance(name, str):
        raise InvalidArtifactNameError(_shown(name), " It must be a str.")
    if len(name) > _MAX_NAME:
        raise InvalidArtifactNameError(
            f"{name[:80]}...", f" Use at most {_MAX_NAME} characters, not {len(name)}."
        )
    if _NAME.fullmatch(name) is None:
        valid = make_name(name)
        raise InvalidArtifactNameError(name, f" For example: {valid!r}." if valid else "")
    return str.__str__(name)


def make_name(stem: str) -> str | None:
    """Return the nearest valid name (``epoch=1-step=2`` -> ``epoch-1-step-2``), or None."""
    name = _NOT_IN_NAME.sub("-", stem).strip("-/_")
    return name if _NAME.fullmatch(name) else None


def check_text(field: str, value: Any) -> str | None:
    """Return ``value`` as a plain str, or None.

    Raises:
        InvalidMetadataError: it is neither.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidMetadataError(field, f"must be a str, not {type(value).__name__}.")
    text: str = _Copier(field).copy(value)
    return text


def check_labels(labels: Any) -> list[str] | None:
    """Return ``labels`` as a new list of str, or None.

    Raises:
        InvalidMetadataError: it is not a list of str; a single str counts as a mistake.
    """
    if labels is None:
        return None
    if not isinstance(labels, (list, tuple)):
        raise InvalidMetadataError("labels", f"must be a list of str, not {type(labels).__name__}.")
    copied: list[str] = _Copier("labels").copy(labels)
    for index, label in enumerate(copied):
        if not isinstance(label, str):
            raise InvalidMetadataError(
                f"labels[{index}]", f"must be a str, not {type(label).__name__}."
            )
    return copied


def check_meta(meta: Any) -> dict[Any, Any] | None:
    """Return a deep copy of ``meta`` in plain types, or None.

    Raises:
        InvalidMetadataError: it is not a dict of values that YAML holds; names the place.
    """
    if meta is None:
        return None
    if not isinstance(meta, dict):
        raise InvalidMetadataError("meta", f"must be a dict, not {type(meta).__name__}.")
    copied = _Copier("meta").copy(meta)
    assert isinstance(copied, dict)
    return copied


def escape_templates(value: Any) -> Any:
    """Copy a value for dvc.yaml, where DVC takes ``${...}`` for a template of its own.

    Unescaped, it fails to resolve, and every ``dvc`` command in the repository with it.
    """
    if isinstance(value, str):
        return value.replace("${", "\\${")
    if isinstance(value, list):
        return [escape_templates(item) for item in value]
    if isinstance(value, dict):
        return {escape_templates(key): escape_templates(item) for key, item in value.items()}
    return value


def _has_utc(value: datetime.datetime) -> bool:
    """Whether YAML can hold the time: an offset of minutes, in UTC in the years 1 to 9999."""
    offset = value.utcoffset()
    if offset is None:
        return True
    if offset % datetime.timedelta(minutes=1):
        return False
    try:
        value.astimezone(datetime.timezone.utc)
    except OverflowError:
        return False
    return True


_short = reprlib.Repr()
_short.maxstring = _short.maxlong = _short.maxother = 80


def _shown(value: Any) -> str:
    """A name or key for a message: it may be megabytes long, or refuse to be shown."""
    try:
        return _short.repr(value)
    except Exception:  # an integer of too many digits, or a class of the caller's
        return f"<{type(value).__name__}>"


class _UnfitError(Exception):
    """YAML does not hold a value; the message completes "meta['a'] ..."."""


def _plain_scalar(value: Any) -> Any:
    """Return the value in a plain type.

    By the methods of the plain types: those of a subclass may say something else.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = str.__str__(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _UnfitError("holds characters that UTF-8 cannot encode.") from None
        return text
    if isinstance(value, int):
        if int.bit_length(value) > _MAX_INT_BITS:
            raise _UnfitError("is too large an integer.")
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, datetime.datetime) and not _has_utc(value):
        raise _UnfitError(
            "is a time that YAML cannot hold: its offset is not of whole minutes, or it "
            "leads out of the years 1 to 9999. Use UTC."
        )
    if type(value) in (bytes, datetime.date, datetime.datetime):
        return value
    raise _UnfitError(
        f"is of type {type(value).__module__}.{type(value).__qualname__}, which YAML cannot "
        f"hold. Use {_HOLDS}."
    )


class _Copier:
    """One deep copy of an argument, counting what it has seen."""

    def __init__(self, argument: str) -> None:
        self._argument = argument
        self._values = 0
        self._characters = 0
        # Keys and indices that lead to where the copy is. Written out for a message only: of
        # each value it would be a string as long as the keys above it.
        self._way: list[Any] = []

    def copy(self, value: Any) -> Any:
        self._values += 1
        if self._values > _MAX_VALUES:
            self._refuse_all(f"holds more than {_MAX_VALUES} values. {_INSTEAD}")
        if len(self._way) > _MAX_DEPTH:
            self._refuse_all(f"is nested deeper than {_MAX_DEPTH} levels, or holds itself.")
        if isinstance(value, dict):
            return self._dict(value)
        if isinstance(value, (list, tuple)):
            copied = []
            for index, item in enumerate(value):
                self._way.append(index)
                copied.append(self.copy(item))
                self._way.pop()
            return copied
        try:
            return self._counted(_plain_scalar(value))
        except _UnfitError as error:
            raise InvalidMetadataError(self._field, str(error)) from None

    def _counted(self, plain: Any) -> Any:
        if isinstance(plain, (str, bytes)):
            self._characters += len(plain)
        elif isinstance(plain, int):
            self._characters += plain.bit_length() // _BITS_PER_DIGIT
        if self._characters > _MAX_CHARACTERS:
            self._refuse_all(f"holds more than {_MAX_CHARACTERS} characters. {_INSTEAD}")
        return plain

    @property
    def _field(self) -> str:
        return self._argument + "".join(f"[{_shown(step)}]" for step in self._way)

    def _refuse_all(self, reason: str) -> NoReturn:
        raise InvalidMetadataError(self._argument, reason)

    def _dict(self, value: dict[Any, Any]) -> dict[Any, Any]:
        copied: dict[Any, Any] = {}
        for key, item in value.items():
            plain = self._key(key)
            if plain in copied:
                # Of a class with an equality of its own; one of the values would be lost.
                raise InvalidMetadataError(
                    f"{self._field}[{_shown(plain)}]", "is there twice: two keys are equal."
                )
            self._way.append(plain)
            copied[plain] = self.copy(item)
            self._way.pop()
        return copied

    def _key(self, key: Any) -> Any:
        if not isinstance(key, (str, int, float)) or key != key:  # NaN finds nothing again
            raise InvalidMetadataError(
                f"{self._field}[{_shown(key)}]",
                f"has a key of type {type(key).__name__}; use a str.",
            )
        try:
            return self._counted(_plain_scalar(key))
        except _UnfitError as error:
            which = f"the key {_shown(key)}" if isinstance(key, str) else "a key"
            raise InvalidMetadataError(f"{which} of {self._field}", str(error)) from None
