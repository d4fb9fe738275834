"""The bar of a line, and names that are shortened to fit."""

from __future__ import annotations

import pytest

from asynclive._progress.line_layout import bar, shorten


@pytest.mark.parametrize(
    ("done", "total", "expected"),
    [
        (0, 4, "━━━━"),
        (1, 8, "╸━━━"),
        (1, 4, "━╺━━"),
        (3, 8, "━╸━━"),
        (4, 4, "━━━━"),
        (9, 4, "━━━━"),
        (0, 0, "━━━━"),
        (0, None, "━━━━"),
    ],
)
def test_a_bar_has_the_requested_width(done: int, total: int | None, expected: str) -> None:
    pieces = bar(done, total, 4)
    assert "".join(text for text, _ in pieces) == expected


@pytest.mark.parametrize(
    ("text", "cells", "expected"),
    [
        ("checkpoint-12", 13, "checkpoint-12"),
        ("checkpoint-12", 8, "che…t-12"),
        ("模型权重", 5, "模…重"),
        ("模型权重", 4, "…重"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
    ],
)
def test_a_name_is_shortened_in_its_middle(text: str, cells: int, expected: str) -> None:
    assert shorten(text, cells) == expected
