"""What of a workspace an experiment is to hold."""

from __future__ import annotations

from pathlib import Path

from disk import write

from asynclive._dvclive.experiment_files import left_to_git


def test_of_a_directory_all_but_what_dvc_keeps_is_left_to_git(tmp_path: Path) -> None:
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
    assert left_to_git(str(tmp_path / path) for path in asked) == [
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
