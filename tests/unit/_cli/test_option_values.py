"""The values of options: scalars of YAML for ``--meta``, and sizes."""

from __future__ import annotations

import datetime
from typing import Any

import click
import pytest

from asynclive._cli.option_values import parse_size, parse_yaml_scalar


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", 3),
        ("-0.5", -0.5),
        ("1e-3", 0.001),
        ("0x1f", 31),
        (".inf", float("inf")),
        ("true", True),
        ("False", False),
        ("null", None),
        ("", None),
        ("2024-05-01", datetime.date(2024, 5, 1)),
        # Text, as in YAML 1.2.
        ("yes", "yes"),
        ("adam", "adam"),
        ("1.0.2", "1.0.2"),
        # Not a list, a mapping, a comment, an alias or a tag.
        ("[1, 2]", "[1, 2]"),
        ("{a: b}", "{a: b}"),
        ("loss: 0.3", "loss: 0.3"),
        ("#5", "#5"),
        ("5 # five", "5 # five"),
        ("*a", "*a"),
        ("&a b", "&a b"),
        ("!!python/name:os.system x", "!!python/name:os.system x"),
        ("a=b", "a=b"),
        ("two\nlines", "two\nlines"),
        # Quotes make it text.
        ("'3'", "3"),
        ('"1.0"', "1.0"),
        ('"a\\tb"', "a\tb"),
        ("''", ""),
        ("'a' and 'b'", "'a' and 'b'"),
        ("'", "'"),
        ('"\\q"', '"\\q"'),
        ("2024-13-45", "2024-13-45"),
    ],
)
def test_a_value_is_read_as_a_yaml_scalar(text: str, expected: Any) -> None:
    value = parse_yaml_scalar(text)
    assert value == expected
    assert type(value) is type(expected)


CONTEXT, OPTION = click.Context(click.Command("push")), click.Option(["--max-bandwidth"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("1", 1),
        ("1000", 1000),
        ("500k", 500 * 1024),
        ("20M", 20 * 1024**2),
        ("20 MiB", 20 * 1024**2),
        ("1.5g", 3 * 1024**3 // 2),
        ("1TB", 1024**4),
        (" 7b ", 7),
    ],
)
def test_a_size_is_read_in_units_of_1024(text: str | None, expected: int | None) -> None:
    assert parse_size(CONTEXT, OPTION, text) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "M", "1.M", "0.1", "ten", "1e6", "20 M/s", "1PB"])
def test_a_text_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a number of bytes, such as"):
        parse_size(CONTEXT, OPTION, text)
