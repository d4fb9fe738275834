"""What options of the command line hold, as Python values; and what is wrong with them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from .._artifact import metadata
from .._errors import AsyncLiveError

T = TypeVar("T")


def meta_from(
    _ctx: click.Context, _param: click.Parameter, given: Sequence[str]
) -> dict[str, Any] | None:
    """``KEY=VALUE``s as a dict; None: there are none.

    Raises:
        click.BadParameter: one has no key, or is given twice, or does not fit YAML.
    """
    meta: dict[str, Any] = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{item!r} is not KEY=VALUE.")
        if key in meta:
            raise click.BadParameter(f"{key!r} is given twice.")
        meta[key] = yaml_scalar(value)
    return _checked(lambda: metadata.check_meta(meta or None))


def yaml_scalar(text: str) -> Any:
    """What YAML 1.2 reads ``text`` as, where it stands alone.

    A number, true, false, null, a date, or in quotes: what they hold. All else is text as it is,
    also what would be a list, a mapping or a comment.
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
    except (YAMLError, ValueError):  # ValueError: it only looks like a date
        return text


def name_from(_ctx: click.Context, _param: click.Parameter, given: str | None) -> str | None:
    """The name of an entry.

    Raises:
        click.BadParameter: the model registry does not take it.
    """
    if given is None:
        return None
    return _checked(lambda: metadata.check_name(given))


def text_from(_ctx: click.Context, param: click.Parameter, given: str | None) -> str | None:
    """A text for dvc.yaml.

    Raises:
        click.BadParameter: YAML cannot hold it.
    """
    return _checked(lambda: metadata.check_text(param.name or "", given))


def labels_from(
    _ctx: click.Context, _param: click.Parameter, given: Sequence[str]
) -> list[str] | None:
    """Labels; None: there are none.

    Raises:
        click.BadParameter: YAML cannot hold one.
    """
    return _checked(lambda: metadata.check_labels(list(given) or None))


def seconds_from(_ctx: click.Context, _param: click.Parameter, given: float) -> float | None:
    """A number of seconds; None, for ever: it was ``inf``.

    Raises:
        click.BadParameter: it is not a number.
    """
    if math.isnan(given):
        raise click.BadParameter("nan is not a number of seconds.")
    return None if math.isinf(given) else given


def paths_from(_ctx: click.Context, _param: click.Parameter, given: Sequence[str]) -> list[str]:
    """The paths, each once, in the order in which they were given.

    Raises:
        click.BadParameter: one is empty.
    """
    if "" in given:
        raise click.BadParameter("'' is not a path.")
    return list({os.path.abspath(path): path for path in reversed(given)}.values())[::-1]


def _checked(check: Callable[[], T]) -> T:
    try:
        return check()
    except AsyncLiveError as error:
        raise click.BadParameter(str(error)) from None
