"""For the tests of whole calls on real repositories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("disk")

from disk import leftovers  # noqa: E402  only then do its asserts say what differs


@pytest.fixture
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    """After the test there is no temp file or directory of asynclive's anywhere."""
    yield
    assert leftovers(tmp_path) == []
