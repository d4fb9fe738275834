"""An empty cache and an empty temp directory of a repository."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    (tmp_path / "repo" / "tmp").mkdir(parents=True)
    return tmp_path / "repo" / "tmp"
