"""Checks what a caller wants written beside an artifact, and copies it; no I/O.

A value is accepted when YAML holds it and DVC reads it back equal. It is copied into plain
types (a numpy float becomes a float, a tuple a list), so that nothing the caller does
afterwards, and no alias inside it, reaches dvc.yaml.
"""

from __future__ import annotations

import datetime
import re
from typing import Any

from ._errors import InvalidArtifactNameError, InvalidMetadataError

# The rule of the model registry (gto.constants.name_re), to the end of the string.
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-/_]*[a-zA-Z0-9])?")
_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9\-/_]+")

# Deeper, or more, is a mistake (a whole model, a cycle, an alias bomb), and ruamel.yaml
# recurses once a level: refuse while it still costs nothing.
_MAX_DEPTH = 64
_MAX_VALUES = 100_000
# Python refuses to print longer integers.
_MAX_INT_BITS = 10_000

_HOLDS = "str, int, float, bool, None, bytes, date, datetime, list or dict"


def check_name(name: str) -> str:
    """Return ``name`` if the model registry takes it.

    Raises:
        InvalidArtifactNameError: it does not.
    """
    if not isinstance(name, str):
        raise InvalidArtifactNameError(repr(name), " It must be a str.")
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
    return _plain_str(field, value)


def check_labels(labels: Any) -> list[str] | None:
    """Return ``labels`` as a new list of str, or None.

    Raises:
        InvalidMetadataError: it is not a list of str; a single str counts as a mistake.
    """
    if labels is None:
        return None
    if not isinstance(labels, (list, tuple)):
        raise InvalidMetadataError("labels", f"must be a list of str, not {type(labels).__name__}.")
    for index, label in enumerate(labels):
        if not isinstance(label, str):
            raise InvalidMetadataError(
                f"labels[{index}]", f"must be a str, not {type(label).__name__}."
            )
    return [_plain_str(f"labels[{index}]", label) for index, label in enumerate(labels)]


def check_meta(meta: Any) -> dict[Any, Any] | None:
    """Return a deep copy of ``meta`` in plain types, or None.

    Raises:
        InvalidMetadataError: it is not a dict of values that YAML holds; names the place.
    """
    if meta is None:
        return None
    if not isinstance(meta, dict):
        raise InvalidMetadataError("meta", f"must be a dict, not {type(meta).__name__}.")
    copied = _Copier().copy("meta", meta, 0)
    assert isinstance(copied, dict)
    return copied


def templates_escaped(value: Any) -> Any:
    """Copy a value for dvc.yaml, where DVC takes ``${...}`` for a template of its own.

    Unescaped, it fails to resolve, and every ``dvc`` command in the repository with it.
    """
    if isinstance(value, str):
        return value.replace("${", "\\${")
    if isinstance(value, list):
        return [templates_escaped(item) for item in value]
    if isinstance(value, dict):
        return {templates_escaped(key): templates_escaped(item) for key, item in value.items()}
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


def _plain_str(field: str, value: str) -> str:
    value = str.__str__(value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidMetadataError(field, "holds characters that UTF-8 cannot encode.") from None
    return value


class _Copier:
    """One deep copy, counting what it has seen."""

    def __init__(self) -> None:
        self.values = 0

    def copy(self, field: str, value: Any, depth: int) -> Any:
        self.values += 1
        if self.values > _MAX_VALUES:
            raise InvalidMetadataError("meta", f"holds more than {_MAX_VALUES} values.")
        if depth > _MAX_DEPTH:
            raise InvalidMetadataError(
                "meta", f"is nested deeper than {_MAX_DEPTH} levels, or holds itself."
            )
        if isinstance(value, dict):
            keys = {self._key(field, key): item for key, item in value.items()}
            return {key: self.copy(f"{field}[{key!r}]", keys[key], depth + 1) for key in keys}
        if isinstance(value, (list, tuple)):
            return [
                self.copy(f"{field}[{index}]", item, depth + 1) for index, item in enumerate(value)
            ]
        return self._scalar(field, value)

    def _key(self, field: str, key: Any) -> Any:
        if not isinstance(key, (str, int, float)) or key != key:  # NaN finds nothing again
            raise InvalidMetadataError(
                f"{field}[{key!r}]", f"has a key of type {type(key).__name__}; use a str."
            )
        # Some integers are too long for repr().
        which = f"the key {key!r}" if isinstance(key, str) else "a key"
        return self._scalar(f"{which} of {field}", key)

    def _scalar(self, field: str, value: Any) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _plain_str(field, value)
        if isinstance(value, int):
            if value.bit_length() > _MAX_INT_BITS:
                raise InvalidMetadataError(field, "is too large an integer.")
            return int(value)
        if isinstance(value, float):
            return float(value)
        if isinstance(value, datetime.datetime) and not _has_utc(value):
            raise InvalidMetadataError(
                field,
                "is a time that YAML cannot hold: its offset is not of whole minutes, or it "
                "leads out of the years 1 to 9999. Use UTC.",
            )
        if type(value) in (bytes, datetime.date, datetime.datetime):
            return value
        raise InvalidMetadataError(
            field,
            f"is of type {type(value).__module__}.{type(value).__qualname__}, which YAML cannot "
            f"hold. Use {_HOLDS}.",
        )
