"""isolation= and ASYNCLIVE_ISOLATION: which isolation a session gets."""

from __future__ import annotations

import sys

import pytest

from asynclive._api.engine_choice import choose_isolation


@pytest.mark.parametrize(
    ("given", "environment", "isolation"),
    [
        (None, {}, "process"),
        (None, {"ASYNCLIVE_ISOLATION": ""}, "process"),
        (None, {"ASYNCLIVE_ISOLATION": "thread"}, "thread"),
        (None, {"ASYNCLIVE_ISOLATION": "process"}, "process"),
        ("process", {"ASYNCLIVE_ISOLATION": "thread"}, "process"),
        ("thread", {"ASYNCLIVE_ISOLATION": "process"}, "thread"),
        ("thread", {}, "thread"),
    ],
)
def test_the_argument_comes_before_the_environment(
    given: str | None, environment: dict[str, str], isolation: str
) -> None:
    assert choose_isolation(given, environment) == isolation


@pytest.mark.parametrize(("name", "value"), [("executable", ""), ("frozen", True)])
def test_threads_are_used_if_there_is_no_interpreter_to_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(sys, name, value, raising=False)
    assert choose_isolation(None, {}) == "thread"


@pytest.mark.parametrize(
    ("given", "environment", "message"),
    [
        ("fork", {}, "isolation must be 'thread' or 'process', not 'fork'"),
        (None, {"ASYNCLIVE_ISOLATION": "both"}, "ASYNCLIVE_ISOLATION must be .* not 'both'"),
    ],
)
def test_another_isolation_is_refused_with_the_name_of_its_source(
    given: str | None, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        choose_isolation(given, environment)
