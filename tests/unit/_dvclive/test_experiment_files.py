"""Which files of a workspace an experiment holds."""

from __future__ import annotations

from pathlib import Path

from disk import write

from asynclive._dvclive.experiment_files import files_for_git


def test_git_gets_all_files_of_a_directory_except_those_that_dvc_tracks(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "live/metrics.json": "",
            "live/artifacts/.gitignore": "",
            "live/artifacts/a.pt": "",
            "live/artifacts/a.pt.dvc": "",
            "live/artifacts/data/below/file": "",
            "live/artifacts/data.dvc": "",
            "live/artifacts/uncached.pt": "",
            "single.dvc": "",
        },
    )
    asked = ["single.dvc", "live", "single.dvc", "missing", "live/metrics.json"]
    assert files_for_git(str(tmp_path / path) for path in asked) == [
        str(tmp_path / path)
        for path in (
            "single.dvc",
            "live/metrics.json",
            "live/artifacts/.gitignore",
            "live/artifacts/a.pt.dvc",
            "live/artifacts/data.dvc",
            "live/artifacts/uncached.pt",
        )
    ]
