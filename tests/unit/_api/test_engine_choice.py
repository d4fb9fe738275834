"""Which isolation it is, where the caller does not say."""

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
def test_the_caller_decides_then_the_environment(
    given: str | None, environment: dict[str, str], isolation: str
) -> None:
    assert choose_isolation(given, environment) == isolation


@pytest.mark.parametrize(("name", "value"), [("executable", ""), ("frozen", True)])
def test_where_there_is_no_interpreter_to_start_it_is_threads(
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
def test_another_one_is_refused_by_the_name_of_who_asked(
    given: str | None, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        choose_isolation(given, environment)
