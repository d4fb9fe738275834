"""Mark the tests of the behaviour in which asynclive differs from DVCLive on purpose."""

from __future__ import annotations

import pytest


def differs_from_dvclive(reason: str) -> pytest.MarkDecorator:
    """Mark a test, or with ``pytestmark`` a file, and say what DVCLive does instead.

    ``pytest -m differs_from_dvclive`` runs these tests. The contract tests leave these cases out.
    """
    return pytest.mark.differs_from_dvclive(reason)
