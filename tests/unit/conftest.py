"""For the tests of single modules."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from asynclive._fs import atomic_rename

# How long an example takes says something about the machine, and nothing about the module.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")


@pytest.fixture(params=["renameat2", "three renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the system's exchange, and where it has none."""
    if request.param == "three renames":
        monkeypatch.setattr(atomic_rename, "_renameat2", None)
    return str(request.param)
