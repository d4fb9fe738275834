"""Keep the results of DVCLive for the session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

pytest.register_assert_rewrite("parity")

from case import Case  # noqa: E402  then a failed assert in parity shows both sides
from parity import Parity  # noqa: E402
from reference import Reference  # noqa: E402
from twin import Templates  # noqa: E402


@pytest.fixture
def anyio_backend() -> str:
    """Play each case on asyncio. On Trio, `test_parity_trio` plays one of each kind.

    The result on disk hardly depends on the loop: worker threads write it.
    """
    return "asyncio"


@pytest.fixture
def isolation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log in threads, or as `parity.in_a_worker` says."""
    monkeypatch.setenv("ASYNCLIVE_ISOLATION", getattr(request, "param", "thread"))


@pytest.fixture(scope="session")
def _parity(
    templates: Templates, reference: Reference, tmp_path_factory: pytest.TempPathFactory
) -> Parity:
    return Parity(templates, reference, tmp_path_factory.mktemp("dvclive"))


@pytest.fixture
def same(
    _parity: Parity, tmp_path: Path, caplog: pytest.LogCaptureFixture, isolation: None
) -> Callable[[Case], Awaitable[None]]:
    """Play a case on both sides and fail where they differ."""

    async def same(case: Case) -> None:
        await _parity.check(case, tmp_path / "base", caplog)

    return same
