"""Parses and checks the values of command-line options. Called by click."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from .._artifact import metadata
from .._errors import AsyncLiveError

T = TypeVar("T")

# Units are powers of 1,024.
_UNITS = ("", "K", "M", "G", "T")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)


def parse_meta(
    _ctx: click.Context, _param: click.Parameter, given: Sequence[str]
) -> dict[str, Any] | None:
    """Return all ``KEY=VALUE`` items as a dict, or None if there are none.

    Raises:
        click.BadParameter: an item has no key or no ``=``, a key is given twice, or a value does
            not fit YAML.
    """
    meta: dict[str, Any] = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{item!r} is not KEY=VALUE.")
        if key in meta:
            raise click.BadParameter(f"{key!r} is given twice.")
        meta[key] = parse_yaml_scalar(value)
    return _check_option(lambda: metadata.check_meta(meta or None))


def parse_yaml_scalar(text: str) -> Any:
    """Return the value that YAML 1.2 reads from ``text`` as a scalar.

    That is a number, true, false, null, a date, or the content of quotes. Any other text is
    returned unchanged, even if YAML would read a list, a mapping or a comment from it.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.nodes import ScalarNode

    yaml = YAML(typ="safe", pure=True)
    try:
        if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
            return yaml.load(text)
        tag = yaml.resolver.resolve(ScalarNode, text, (True, False))
        return yaml.constructor.construct_object(ScalarNode(tag, text))
    except (YAMLError, ValueError):  # ValueError: it looks like a date but is not one
        return text


def parse_name(_ctx: click.Context, _param: click.Parameter, given: str | None) -> str | None:
    """Return the name of an entry, or None if there is none.

    Raises:
        click.BadParameter: the name is not valid in the model registry.
    """
    if given is None:
        return None
    return _check_option(lambda: metadata.check_name(given))


def parse_text(_ctx: click.Context, param: click.Parameter, given: str | None) -> str | None:
    """Return a text for dvc.yaml, or None if there is none.

    Raises:
        click.BadParameter: the text does not fit YAML.
    """
    return _check_option(lambda: metadata.check_text(param.name or "", given))


def parse_labels(
    _ctx: click.Context, _param: click.Parameter, given: Sequence[str]
) -> list[str] | None:
    """Return the labels, or None if there are none.

    Raises:
        click.BadParameter: a label does not fit YAML.
    """
    return _check_option(lambda: metadata.check_labels(list(given) or None))


def parse_seconds(_ctx: click.Context, _param: click.Parameter, given: float) -> float | None:
    """Return the number of seconds, or None (no limit) for ``inf``.

    Raises:
        click.BadParameter: it is ``nan``.
    """
    if math.isnan(given):
        raise click.BadParameter("nan is not a number of seconds.")
    return None if math.isinf(given) else given


def parse_paths(_ctx: click.Context, _param: click.Parameter, given: Sequence[str]) -> list[str]:
    """Return the paths without duplicates, in the order in which they were given.

    Raises:
        click.BadParameter: a path is empty.
    """
    if "" in given:
        raise click.BadParameter("'' is not a path.")
    return list({os.path.abspath(path): path for path in reversed(given)}.values())[::-1]


def parse_targets(
    _ctx: click.Context, _param: click.Parameter, given: Sequence[str]
) -> tuple[str, ...]:
    """Return the paths and names without duplicates, in the order in which they were given.

    Raises:
        click.BadParameter: one is empty.
    """
    if "" in given:
        raise click.BadParameter("'' is neither a path nor a name.")
    return tuple(dict.fromkeys(given))


def parse_remote(_ctx: click.Context, _param: click.Parameter, given: str | None) -> str | None:
    """Return the name of a remote, or None.

    Raises:
        click.BadParameter: it is empty.
    """
    if given == "":
        raise click.BadParameter("'' is not the name of a remote.")
    return given


def parse_size(_ctx: click.Context, _param: click.Parameter, given: str | None) -> int | None:
    """Return the number of bytes of a size such as ``500k``, ``20M`` or ``1.5GiB``, or None.

    Raises:
        click.BadParameter: it is not a size, or less than a byte.
    """
    if given is None:
        return None
    found = _SIZE.fullmatch(given.strip())
    size = int(float(found[1]) * 1024 ** _UNITS.index(found[2].upper())) if found else 0
    if size < 1:
        raise click.BadParameter(f"{given!r} is not a number of bytes, such as 500k, 20M or 1G.")
    return size


def _check_option(check: Callable[[], T]) -> T:
    try:
        return check()
    except AsyncLiveError as error:
        raise click.BadParameter(str(error)) from None
