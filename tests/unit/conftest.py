"""For the tests of single modules."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from asynclive._fs import atomic_rename

# The time of an example depends on the machine, so it is not limited.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")


@pytest.fixture(params=["renameat2", "three renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two ways to exchange paths: by the kernel, and by three renames."""
    if request.param == "three renames":
        monkeypatch.setattr(atomic_rename, "_renameat2", None)
    return str(request.param)
