"""Check and copy the name, type, desc, labels and meta of an artifact. No I/O.

A value is accepted if YAML can express it and DVC reads it back equal. It is copied into plain
types (a numpy float becomes a float, a tuple a list). So later changes by the caller do not reach
dvc.yaml, and YAML writes no aliases.
"""

from __future__ import annotations

import datetime
import re
import reprlib
from typing import Any, NoReturn

from .._errors import InvalidArtifactNameError, InvalidMetadataError

# The rule of the model registry (gto.constants.name_re), for the whole string.
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-/_]*[a-zA-Z0-9])?")
_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9\-/_]+")

# Limits of one argument. A value beyond them is a mistake: a whole model, a cycle, shared lists
# that expand to billions of values. ruamel.yaml recurses once per level. Even a value within the
# limits takes seconds to write and read back, while DVC's lock is held.
_MAX_DEPTH = 64
_MAX_VALUES = 10_000
_MAX_CHARACTERS = 1_000_000
# Python refuses to print integers with more than 4300 digits.
_MAX_INT_BITS = 10_000
_BITS_PER_DIGIT = 3
# Characters. The Git tag of a version is a file with this name.
_MAX_NAME = 255

_INSTEAD = "Save it to a file and log that file."
_YAML_TYPES = "str, int, float, bool, None, bytes, date, datetime, list or dict"


def check_name(name: str) -> str:
    """Return ``name`` if the model registry accepts it.

    Raises:
        InvalidArtifactNameError: the model registry does not accept it.
    """
    if not isinstance(name, str):
        raise InvalidArtifactNameError(_short_repr(name), " It must be a str.")
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
        InvalidMetadataError: it is neither a str nor None, or has lone surrogates.
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
        InvalidMetadataError: it is not a list of str. A single str is refused too.
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
        InvalidMetadataError: YAML cannot express a value in it, which the message names.
    """
    if meta is None:
        return None
    if not isinstance(meta, dict):
        raise InvalidMetadataError("meta", f"must be a dict, not {type(meta).__name__}.")
    copied = _Copier("meta").copy(meta)
    assert isinstance(copied, dict)
    return copied


def escape_templates(value: Any) -> Any:
    """Return a copy with each ``${`` escaped, which starts a template in dvc.yaml.

    DVC cannot resolve a template that is meant as text. Every ``dvc`` command in the repository
    would fail.
    """
    if isinstance(value, str):
        return value.replace("${", "\\${")
    if isinstance(value, list):
        return [escape_templates(item) for item in value]
    if isinstance(value, dict):
        return {escape_templates(key): escape_templates(item) for key, item in value.items()}
    return value


def _fits_yaml(value: datetime.datetime) -> bool:
    """Return whether YAML can express a time.

    Its offset must be whole minutes, and the time in UTC in the years 1 to 9999.
    """
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


def _short_repr(value: Any) -> str:
    """Return a value for a message, shortened: it may be megabytes long, or fail to print."""
    try:
        return _short.repr(value)
    except Exception:  # an integer with too many digits, or a class of the caller
        return f"<{type(value).__name__}>"


class _UnfitError(Exception):
    """YAML cannot express a value. The message completes "meta['a'] ..."."""


def _plain_scalar(value: Any) -> Any:
    """Return a value in a plain type.

    Calls the methods of the plain types: a subclass may override them to return another value.

    Raises:
        _UnfitError: YAML cannot express it.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = str.__str__(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _UnfitError("has characters that UTF-8 cannot encode.") from None
        return text
    if isinstance(value, int):
        if int.bit_length(value) > _MAX_INT_BITS:
            raise _UnfitError("is too large an integer. Use a str.")
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, datetime.datetime) and not _fits_yaml(value):
        raise _UnfitError(
            "is a time that YAML cannot express: its UTC offset must be whole minutes, and the "
            "time in UTC must be in the years 1 to 9999. Convert it to UTC."
        )
    if type(value) in (bytes, datetime.date, datetime.datetime):
        return value
    raise _UnfitError(
        f"is of type {type(value).__module__}.{type(value).__qualname__}, which YAML cannot "
        f"express. Use {_YAML_TYPES}."
    )


class _Copier:
    """Makes one deep copy of an argument, and counts its values and characters."""

    def __init__(self, argument: str) -> None:
        self._argument = argument
        self._values = 0
        self._characters = 0
        # The keys and indices of the current value. Only a message joins them: a string for each
        # value would be as long as all keys above it.
        self._path: list[Any] = []

    def copy(self, value: Any) -> Any:
        self._values += 1
        if self._values > _MAX_VALUES:
            self._refuse_all(f"has more than {_MAX_VALUES} values. {_INSTEAD}")
        if len(self._path) > _MAX_DEPTH:
            self._refuse_all(f"is nested deeper than {_MAX_DEPTH} levels, or contains itself.")
        if isinstance(value, dict):
            return self._dict(value)
        if isinstance(value, (list, tuple)):
            copied = []
            for index, item in enumerate(value):
                self._path.append(index)
                copied.append(self.copy(item))
                self._path.pop()
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
            self._refuse_all(f"has more than {_MAX_CHARACTERS} characters. {_INSTEAD}")
        return plain

    @property
    def _field(self) -> str:
        return self._argument + "".join(f"[{_short_repr(step)}]" for step in self._path)

    def _refuse_all(self, reason: str) -> NoReturn:
        raise InvalidMetadataError(self._argument, reason)

    def _dict(self, value: dict[Any, Any]) -> dict[Any, Any]:
        copied: dict[Any, Any] = {}
        for key, item in value.items():
            plain = self._key(key)
            if plain in copied:
                # Keys of a class with its own __eq__ become equal str; one value would be lost.
                raise InvalidMetadataError(
                    f"{self._field}[{_short_repr(plain)}]",
                    "occurs twice: two keys become equal in YAML. Rename one.",
                )
            self._path.append(plain)
            copied[plain] = self.copy(item)
            self._path.pop()
        return copied

    def _key(self, key: Any) -> Any:
        if not isinstance(key, (str, int, float)) or key != key:  # NaN: no lookup finds it
            raise InvalidMetadataError(
                f"{self._field}[{_short_repr(key)}]",
                f"has a key of type {type(key).__name__}. Use a str.",
            )
        try:
            return self._counted(_plain_scalar(key))
        except _UnfitError as error:
            which = f"the key {_short_repr(key)}" if isinstance(key, str) else "a key"
            raise InvalidMetadataError(f"{which} of {self._field}", str(error)) from None
