"""For the tests of single modules."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine, and nothing about the module.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")
