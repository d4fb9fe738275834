"""Text for a terminal keeps its content and contains no escape sequences."""

from __future__ import annotations

import pytest

from asynclive._cli.terminal_text import escape_unprintable, format_message, format_size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model-é-模型.pt", "model-é-模型.pt"),
        ("red\x1b[31m", "red\\x1b[31m"),
        ("title\x9d0;x\x07", "title\\x9d0;x\\x07"),
        ("two\nlines\tand\r", "two\\nlines\\tand\\r"),
        ("turned\u202etxt.exe", "turned\\u202etxt.exe"),
        ("not-utf8-\udcff", "not-utf8-\\udcff"),
    ],
)
def test_unprintable_characters_are_escaped(text: str, expected: str) -> None:
    assert escape_unprintable(text) == expected
    assert escape_unprintable(text).isprintable()


def test_a_message_of_several_lines_becomes_one_line_without_colours() -> None:
    message = "Cannot add:\n  \x1b[31mred\x1b[0m\r\n\nTry again.\n"
    assert format_message(message) == "Cannot add: red Try again."


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (1024, "1.00 KiB"),
        (123 * 2**20 + 2**19, "124 MiB"),
        (5 * 2**30 // 4, "1.25 GiB"),
        (3 * 2**60, "3072 PiB"),
    ],
)
def test_a_size_has_three_digits_and_a_unit(size: int, expected: str) -> None:
    assert format_size(size) == expected
