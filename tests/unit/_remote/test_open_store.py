"""Tests of opening a store if obstore is missing or broken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from backends import on_asyncio
from cloud_store import REMOTE

from asynclive._artifact.push_policy import PushPolicy
from asynclive._errors import RemoteAccessError
from asynclive._remote import open_store as module
from asynclive._remote.open_store import open_store
from asynclive._remote.request_budget import RequestBudget

pytestmark = [pytest.mark.anyio, on_asyncio]


async def test_obstore_that_is_not_installed_is_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", {"obstore": None}.get)
    with pytest.raises(RemoteAccessError, match=r"pip install 'asynclive\[s3\]'"):
        await open_store(REMOTE, RequestBudget(), PushPolicy(), str(tmp_path))


async def test_obstore_that_does_not_fit_this_machine_is_an_error_of_the_remote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An import of a module that is None here fails, as that of a wheel of another system.
    monkeypatch.setitem(sys.modules, "asynclive._remote.cloud.object_storage", None)
    with pytest.raises(RemoteAccessError, match=r"cannot be imported: .* pip install") as caught:
        await open_store(REMOTE, RequestBudget(), PushPolicy(), str(tmp_path))
    assert isinstance(caught.value.__cause__, ImportError)
