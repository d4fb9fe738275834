"""PushPolicy: bad input is refused when it is made."""

from __future__ import annotations

from typing import Any

import pytest

from asynclive import AsyncLive, PushPolicy


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("remote", ""),
        ("when", "later"),
        ("verify", "all"),
        ("verify", True),
        ("on_error", "ignore"),
        ("max_requests", 0),
        ("max_requests", -1),
        ("max_bandwidth", 0),
        ("max_bandwidth", -5),
        ("part_size", 5 * 1024 * 1024 - 1),
    ],
)
def test_a_value_out_of_its_range_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field} must "):
        PushPolicy(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("remote", 5),
        ("max_requests", "4"),
        ("max_requests", 1.5),
        ("max_requests", True),
        ("max_bandwidth", float("inf")),
        ("part_size", 1e7),
    ],
)
def test_a_value_of_another_type_is_refused(field: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^{field} must "):
        PushPolicy(**{field: value})


@pytest.mark.parametrize(("push", "error"), [("", ValueError), (5, TypeError), (b"x", TypeError)])
def test_push_is_checked_before_the_block(push: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^push must "):
        AsyncLive(push=push)
