"""Formats sizes and durations for people."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_KIB = 1024


def format_size(count: float) -> str:
    """Return a number of bytes with a unit, in two to four digits: ``1.2 GiB``."""
    unit = "B"
    for unit in _UNITS:
        if count < 999.5 or unit == "PiB":
            break
        count /= _KIB
    return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"


def format_amount(done: int, total: int) -> str:
    """Return the bytes done and their total, in the unit of the total: ``0.3/1.2 GiB``."""
    whole = format_size(total)
    number, unit = whole.split()
    scale = _KIB ** _UNITS.index(unit)
    digits = len(number.partition(".")[2])
    return f"{done / scale:.{digits}f}/{whole}"


def format_duration(seconds: float) -> str:
    """Return hours, minutes and seconds: ``0:07``, ``1:02:03``."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, seconds_left = divmod(rest, 60)
    if hours:
        return f"{hours}:{minutes:02}:{seconds_left:02}" if hours < 100 else "days"
    return f"{minutes}:{seconds_left:02}"
