"""The records that the steps of an artifact return."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from asynclive._artifact.records import LoggedArtifact, StagedArtifact, StoredFile, TrackedArtifact
from asynclive._artifact.request import make_request

ROOT = "/repo/work"
ARTIFACTS = "/repo/work/dvclive/artifacts"


def test_the_returned_record_describes_the_logged_artifact() -> None:
    made = make_request(
        "data",
        root=ROOT,
        real_root=ROOT,
        artifacts_dir=ARTIFACTS,
        type="dataset",
        desc="d",
        labels=["l"],
        meta={"k": 1},
        copy=True,
    )
    staged = StagedArtifact(made, isdir=True, size=7, nfiles=3)
    logged = LoggedArtifact.from_tracked(TrackedArtifact(staged, "abc.dir", f"{made.path}.dvc"))
    assert logged == LoggedArtifact(
        name="data",
        path=Path(ARTIFACTS, "data"),
        type="dataset",
        desc="d",
        labels=["l"],
        meta={"k": 1},
        md5="abc.dir",
        size=7,
        nfiles=3,
        dvc_file=Path(ARTIFACTS, "data.dvc"),
    )
    uncached = LoggedArtifact.from_tracked(TrackedArtifact(staged, None, None))
    assert (uncached.md5, uncached.dvc_file) == (None, None)


@given(nanoseconds=st.integers(min_value=-(2**40), max_value=2**62))
def test_an_mtime_in_seconds_equals_that_of_os_stat(
    tmp_path_factory: Any, nanoseconds: int
) -> None:
    path = tmp_path_factory.mktemp("mtime") / "file"
    path.touch()
    try:
        os.utime(path, ns=(nanoseconds, nanoseconds))
    except OSError:  # more than this file system can hold
        return
    found = path.stat()
    file = StoredFile((), "", 0, False, 0, found.st_mtime_ns)
    assert file.mtime == found.st_mtime
