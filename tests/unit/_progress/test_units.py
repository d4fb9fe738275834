"""Sizes and durations as text."""

from __future__ import annotations

from asynclive._progress.units import format_amount, format_duration, format_size

MIB = 2**20


def test_numbers_are_formatted_for_people() -> None:
    sizes = (0, 999, 1000, 1536, 10 * MIB, 999 * MIB, 1000 * MIB, 2**60)
    assert [format_size(size) for size in sizes] == [
        "0 B",
        "999 B",
        "1.0 KiB",
        "1.5 KiB",
        "10.0 MiB",
        "999 MiB",
        "1.0 GiB",
        "1024 PiB",
    ]
    assert format_amount(300 * MIB, 1200 * MIB) == "0.3/1.2 GiB"
    assert format_amount(5, 7) == "5/7 B"
    assert [format_duration(n) for n in (0.2, 59.6, 3599, 3600, 36_000_000)] == [
        "0:00",
        "1:00",
        "59:59",
        "1:00:00",
        "days",
    ]
