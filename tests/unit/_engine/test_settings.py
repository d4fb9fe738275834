"""Settings: the checks, the defaults, and the settings of a dvclive.Live."""

from __future__ import annotations

import os
import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asynclive._dvclive.adopted_live import AdoptedLive
from asynclive._engine.settings import DEFAULT_DIR, DEFAULT_DVCYAML, Settings, make_settings
from asynclive._errors import InvalidDvcyamlError

ROOT = os.path.abspath(os.sep)


def settings_of(**values: Any) -> Settings:
    """Return the settings for these arguments of ``AsyncLive``, and its defaults for the others."""
    arguments: dict[str, Any] = {
        "dir": DEFAULT_DIR,
        "root": ROOT,
        "dvcyaml": DEFAULT_DVCYAML,
        "adopted": None,
        "workers": None,
    }
    return make_settings(**{**arguments, **values})


def adopt_live(directory: Path, *, writes_dvcyaml: bool = True) -> AdoptedLive:
    """Return an adopted object that looks like a ``dvclive.Live``."""
    live = SimpleNamespace(
        dir=str(directory),
        dvc_file=str(directory / "dvc.yaml"),
        make_dvcyaml=lambda: None,
        save_dvc_exp=lambda: None,
        _artifacts={},
        _dvcyaml=writes_dvcyaml,
        _dvc_repo=None,
        _exp_name=None,
        _include_untracked=[],
        _save_dvc_exp=False,
        _inside_dvc_exp=False,
    )
    return AdoptedLive(live)


def test_the_defaults_are_those_of_async_live() -> None:
    assert settings_of() == Settings(
        root=ROOT,
        artifacts_dir=os.path.join(ROOT, "dvclive", "artifacts"),
        dvcyaml=os.path.join(ROOT, "dvc.yaml"),
        workers=None,
        lock_timeout=60.0,
        leave_timeout=60.0,
        durable=False,
        max_pending_bytes=None,
        max_pending=None,
    )


def test_a_relative_root_starts_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings_of(root=None).root == str(tmp_path)
    assert settings_of(root=Path("a", "..", "b")).root == str(tmp_path / "b")


def test_dir_and_dvcyaml_start_in_root() -> None:
    settings = settings_of(dir=Path("logs"), dvcyaml="sub/dvc.yaml")
    assert settings.artifacts_dir == os.path.join(ROOT, "logs", "artifacts")
    assert settings.dvcyaml == os.path.join(ROOT, "sub", "dvc.yaml")
    assert settings.experiment_paths == [settings.artifacts_dir, settings.dvcyaml]


@pytest.mark.parametrize("value", [None, False])
def test_without_dvcyaml_no_file_is_written(value: bool | None) -> None:
    settings = settings_of(dvcyaml=value)
    assert settings.dvcyaml is None
    assert settings.experiment_paths == [settings.artifacts_dir]


def test_dvcyaml_true_is_the_default_file() -> None:
    assert settings_of(dvcyaml=True).dvcyaml == settings_of().dvcyaml


@pytest.mark.parametrize("value", ["", "dvc.yml", "dvc.yaml/", "sub/other.yaml", b"dvc.yaml"])
def test_dvcyaml_must_be_named_dvc_yaml(value: str | bytes) -> None:
    with pytest.raises(InvalidDvcyamlError):
        settings_of(dvcyaml=value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"workers": 0}, "workers must be at least 1, not 0"),
        ({"lock_timeout": -1}, "lock_timeout must not be negative, not -1"),
        ({"max_pending_bytes": 0}, "max_pending_bytes must be at least 1, not 0"),
        ({"max_pending": -1}, "max_pending must be at least 1, not -1"),
    ],
)
def test_a_value_out_of_its_range_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_of(**values)


@pytest.mark.parametrize(
    "values",
    [{"workers": 1}, {"lock_timeout": 0}, {"lock_timeout": None}, {"max_pending": 1}],
)
def test_a_value_at_the_end_of_its_range_is_accepted(values: dict[str, Any]) -> None:
    settings = settings_of(**values)
    assert {name: getattr(settings, name) for name in values} == values


def test_an_adopted_live_gives_its_dir_and_dvcyaml(tmp_path: Path) -> None:
    settings = settings_of(adopted=adopt_live(tmp_path))
    assert settings.artifacts_dir == str(tmp_path / "artifacts")
    assert settings.dvcyaml == str(tmp_path / "dvc.yaml")
    assert settings.root == ROOT


def test_an_adopted_live_that_writes_no_dvcyaml_gives_none(tmp_path: Path) -> None:
    assert settings_of(adopted=adopt_live(tmp_path, writes_dvcyaml=False)).dvcyaml is None


def test_the_same_dir_and_dvcyaml_as_those_of_the_live_may_be_passed(tmp_path: Path) -> None:
    live = adopt_live(tmp_path)
    settings = settings_of(adopted=live, dir=tmp_path, dvcyaml=tmp_path / "dvc.yaml")
    assert settings == settings_of(adopted=live)


@pytest.mark.parametrize(
    "values",
    # A value that equals a default was passed by the caller all the same.
    [{"dir": "dvclive"}, {"dir": "other"}, {"dvcyaml": "dvc.yaml"}, {"dvcyaml": None}],
)
def test_arguments_that_contradict_the_live_are_refused(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"of live is .* leave it out"):
        settings_of(adopted=adopt_live(tmp_path), **values)


def test_settings_pickle_and_are_frozen() -> None:
    settings = settings_of(workers=3, lock_timeout=None, durable=True, max_pending=7)
    assert pickle.loads(pickle.dumps(settings)) == settings
    with pytest.raises(FrozenInstanceError):
        settings.workers = 1  # type: ignore[misc]
