"""DvcText writes the same bytes as DVC, for any state of a stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dvc.utils.collections import apply_diff
from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclive._index.dvc_file_text import DvcText

HASHES = ["d41d8cd98f00b204e9800998ecf8427e", "0" * 32, "1" * 15 + "e" + "1" * 16, "0b" + "1" * 30]
PATHS = ["model.bin", "0001.bin", "a b", "no", "y.n", "1e5", "0o17", "2001-12-14", "é", "- x", "x:"]

paths = st.sampled_from([*PATHS, "x" * 200]) | st.text("aefgxyzENO019_./- #:é", min_size=1)
hashes = st.sampled_from([*HASHES, *(f"{value}.dir" for value in HASHES)])
outputs = st.builds(
    lambda md5, size, path, rest: {"md5": md5, "size": size, "hash": "md5", "path": path, **rest},
    hashes,
    st.integers(0),
    paths,
    st.fixed_dictionaries(
        {},
        optional={
            "isexec": st.booleans(),
            "nfiles": st.integers(0),
            "desc": st.text(max_size=5) | paths,
            "labels": st.lists(paths, max_size=2),
            "meta": st.dictionaries(paths, st.none() | st.floats() | paths, max_size=2),
        },
    ),
)
states = st.builds(
    lambda rest, outs: {**rest, "outs": outs},
    st.fixed_dictionaries({}, optional={"wdir": paths, "frozen": st.just(True)}),
    st.lists(outputs, min_size=1, max_size=2),
)


@settings(max_examples=150, deadline=None)
@given(states)
def test_a_new_file_has_the_text_that_dvc_writes(state: dict[str, Any]) -> None:
    text = DvcText(dumps_yaml)
    for _ in range(2):
        assert text.dump(state) == dumps_yaml(state)


WORDS = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf", "none", "t"]


@pytest.mark.parametrize("write", [str.lower, str.upper, str.capitalize])
@pytest.mark.parametrize("word", WORDS)
def test_a_name_that_yaml_may_read_as_another_value_is_written_as_dvc_writes_it(
    word: str, write: Callable[[str], str]
) -> None:
    text = DvcText(dumps_yaml)
    for path in ("model.bin", write(word)):
        state = {"outs": [{"md5": HASHES[0], "size": 1, "hash": "md5", "path": path}]}
        assert text.dump(state) == dumps_yaml(state)


@settings(max_examples=100, deadline=None)
@given(states, states, st.booleans(), st.sampled_from(["", "# mine\n", "meta: {a: 1}\n"]))
def test_a_changed_file_has_the_text_that_dvc_writes(
    before: dict[str, Any], after: dict[str, Any], alike: bool, more: str
) -> None:
    if alike:
        after = {**before, "outs": [{**out, "size": 7, "md5": HASHES[0]} for out in before["outs"]]}
    old = dumps_yaml(before) + more
    updated = DvcText(dumps_yaml).update(before, old, after)
    saved = parse_yaml_for_update(old, "x.dvc")
    apply_diff(after, saved)
    assert updated in (None, dumps_yaml(saved))


def test_dvc_writes_one_template_for_all_files_with_the_same_keys() -> None:
    dumped: list[Any] = []

    def dump(state: Any) -> str:
        dumped.append(state)
        return dumps_yaml(state)

    text = DvcText(dump)
    states = [
        {"outs": [{"md5": HASHES[0], "size": size, "hash": "md5", "path": f"{size}.bin"}]}
        for size in range(5)
    ]
    written = [text.dump(state) for state in states]
    updated = [text.update(states[0], written[0], state) for state in states]
    assert updated == written
    assert len(dumped) == 1


def test_a_file_with_other_data_is_left_to_dvc() -> None:
    text = DvcText(dumps_yaml)
    state = {"outs": [{"md5": HASHES[0], "size": 1, "hash": "md5", "path": "a.bin"}]}
    assert text.update(state, "# mine\n" + text.dump(state), state) is None
