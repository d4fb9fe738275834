"""Plain entries have the lines that ruamel.yaml writes, and are read back equal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from asynclive._dvcyaml.merge_entries import is_same_data
from asynclive._dvcyaml.plain_rendering import render_plain
from asynclive._dvcyaml.rendering import Style

WORDS = ["net", "yes", "True", "null", "e5", "x1e3", "inf", "a-b", "data/part-1.bin", "../x", "/x"]
words = st.sampled_from(WORDS) | st.text("abzNOTX019_./-+=@%,;():#'& ", min_size=1, max_size=30)
texts = st.lists(words, min_size=1, max_size=4).map(" ".join)
scalars = (
    texts
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.sampled_from([0, -1, 0.5, 1e-3, 1e-5, 1e22, 3.0, "", "x" * 80, "é", "0001", "2020-01-01"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
entries = st.dictionaries(st.sampled_from(["path", "type", "labels", "meta"]), values, min_size=1)


@settings(max_examples=150, deadline=None)
@given(name=words, entry=entries, indent=st.integers(1, 8), dash=st.integers(0, 8))
def test_a_plain_entry_has_the_lines_that_ruamel_writes(
    name: str, entry: dict[str, Any], indent: int, dash: int
) -> None:
    lines = render_plain(name, entry, indent=indent, dash=dash)
    if lines is not None:
        assert lines == Style(indent, dash).render({name: entry})[name]
        for version in (None, "1.1"):
            yaml = YAML(typ="safe")
            yaml.version = version  # type: ignore[assignment]
            assert is_same_data(yaml.load(lines), {name: entry})


@pytest.mark.parametrize("text", WORDS[0:1] + WORDS[4:])
@pytest.mark.parametrize("indent", [2, 4])
@pytest.mark.parametrize("dash", [0, 2])
def test_usual_entries_are_plain(text: str, indent: int, dash: int) -> None:
    entry = {
        "path": text,
        "type": "dataset",
        "desc": "Part 3 (of 7), cleaned",
        "labels": [text, "b", 3],
        "meta": {"rows": 17, "lr": 0.001, "done": True, "nested": {"list": ["a", "b"]}},
    }
    lines = render_plain("net", entry, indent=indent, dash=dash)
    assert lines == Style(indent, dash).render({"net": entry})["net"]


@pytest.mark.parametrize(
    "value",
    [
        *(
            "yes",
            "True",
            "null",
            "N",
            "1",
            "0x1",
            "1e3",
            "2020-01-01",
            "a: b",
            "a #b",
            "- a",
            "",
            " a",
        ),
        *(
            "a ",
            "a\n",
            "'a'",
            "é",
            "x" * 80,
            "word " * 20,
            None,
            1e-5,
            float("nan"),
            10**20,
            [],
            {},
        ),
        *([[1]], [{"a": 1}], {1: 2}, {"yes": 1}, {"a b": 1}, {"x" * 80: 1}, b"a"),
    ],
)
def test_a_value_that_needs_quotes_or_folding_or_resolves_otherwise_is_not_plain(
    value: Any,
) -> None:
    assert render_plain("net", {"path": "x", "meta": value}, indent=2, dash=0) is None


@pytest.mark.parametrize("name", ["yes", "1", "0001", "a.b", "é", "", "a b", "x" * 80])
def test_a_name_that_needs_quotes_or_folding_is_not_plain(name: str) -> None:
    assert render_plain(name, {"path": "x"}, indent=2, dash=0) is None
