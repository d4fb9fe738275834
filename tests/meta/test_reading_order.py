"""The reading order at the top of the package names files and records that exist."""

from __future__ import annotations

import re
from pathlib import Path

import asynclive

PACKAGE = Path(asynclive.__file__).parent
DOCSTRING = asynclive.__doc__ or ""


def test_each_file_in_the_reading_order_exists() -> None:
    files = re.findall(r"``(\w+/[\w/]+\.py)``", DOCSTRING)
    assert len(files) > 10
    assert [file for file in files if not (PACKAGE / file).is_file()] == []


def test_each_record_in_the_reading_order_is_a_class() -> None:
    records = re.findall(r"\b(?:an?) ([A-Z]\w+)\b", DOCSTRING)
    assert len(records) > 5
    sources = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    classes = set(re.findall(r"^class (\w+)", sources, re.MULTILINE))
    assert [record for record in records if record not in classes] == []
