"""A directory loses files while it is logged: the error advises to log each checkpoint."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from backends import on_asyncio
from differences import differs_from_dvclive
from disk import write

from asynclive import ArtifactChangedError, ArtifactNotFoundError, AsyncLive

pytestmark = [
    pytest.mark.anyio,
    on_asyncio,
    pytest.mark.usefixtures("nothing_left_behind"),
    differs_from_dvclive("warns, and registers the path in dvc.yaml all the same"),
]

ADVICE = "as a trainer removes old checkpoints, log each checkpoint instead of the directory"
FILES = {f"checkpoints/checkpoint-{step}/model.pt": f"{step}" for step in range(3)}
OLDEST = "checkpoints/checkpoint-0"


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("call", ["scandir", "open"])
async def test_a_directory_that_rotates_is_refused_with_advice(
    repo: Path, monkeypatch: pytest.MonkeyPatch, call: str, copy: bool
) -> None:
    write(repo, FILES)
    oldest = repo / OLDEST
    at = {"scandir": oldest, "open": oldest / "model.pt"}[call]
    real = getattr(os, call)

    def rotate_first(path: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(path, int) and os.fspath(path) == str(at) and oldest.exists():
            monkeypatch.setattr(os, call, real)
            shutil.rmtree(oldest)
        return real(path, *args, **kwargs)

    async with AsyncLive(root=repo) as live:
        monkeypatch.setattr(os, call, rotate_first)
        with pytest.raises((ArtifactChangedError, ArtifactNotFoundError)) as caught:
            await live.log_artifact("checkpoints", type="model", copy=copy)
        assert not oldest.exists()
        assert ADVICE in str(caught.value)
        assert f"'{repo / 'checkpoints'}'" in str(caught.value)
        assert OLDEST in str(caught.value)
        await live.log_artifact("checkpoints", type="model", copy=copy)


async def test_a_single_file_that_vanishes_has_no_such_advice(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"model.pt": "weights"})
    real = os.open

    def remove_first(path: Any, *args: Any, **kwargs: Any) -> int:
        if os.fspath(path) == str(repo / "model.pt") and (repo / "model.pt").exists():
            (repo / "model.pt").unlink()
        return real(path, *args, **kwargs)

    async with AsyncLive(root=repo) as live:
        monkeypatch.setattr(os, "open", remove_first)
        with pytest.raises(ArtifactChangedError, match="vanished") as caught:
            await live.log_artifact("model.pt")
    assert ADVICE not in str(caught.value)
