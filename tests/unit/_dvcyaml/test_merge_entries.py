"""Merging entries into the text of a dvc.yaml, byte for byte."""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
import zoneinfo
from pathlib import Path
from typing import Any

import pytest
from documents import INDENTED, MODEL, MODEL_LINES, STAGES, load
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclive._dvcyaml.document import DocumentError, parse
from asynclive._dvcyaml.merge_entries import Merger, is_same_data, merge

# --- Layout ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [None, ""])
def test_a_new_document_is_what_dvclive_writes(text: str | None, tmp_path: Path) -> None:
    from dvclive.serialize import dump_yaml

    entries = {
        "net": {
            **MODEL,
            "desc": "words " * 40,
            "meta": {"lr": 1e-3, "deep": [[1, {"k": []}], {}], "no": None, "text": "a\nb\n"},
        },
        "other/name": {"path": "x", "labels": []},
    }
    dump_yaml({"artifacts": entries}, tmp_path / "dvc.yaml")
    assert merge(text, entries) == (tmp_path / "dvc.yaml").read_text()


def test_a_document_with_stages_is_kept_and_its_indentation_is_used() -> None:
    assert merge(STAGES, {"net": MODEL}) == STAGES + INDENTED


def test_crlf_line_ends_are_kept_and_used() -> None:
    text = STAGES.replace("\n", "\r\n")
    assert merge(text, {"net": MODEL}) == text + INDENTED.replace("\n", "\r\n")


def test_a_missing_final_newline_stays_missing() -> None:
    assert merge(STAGES.rstrip("\n"), {"net": MODEL}) == (STAGES + INDENTED).rstrip("\n")


def test_a_bom_is_kept() -> None:
    assert merge("\ufeff" + STAGES, {"net": MODEL}) == "\ufeff" + STAGES + INDENTED


MIDDLE = """\
stages:
  a:
    cmd: echo
    deps:
    - x
# What we made:
artifacts:   # see the wiki
  # the first
  first: {{path: "one"}}   # flow

  # the network
{net}
  # a note on the last
  last:
    # inside
    path: 'three'
    desc: |
      text
      # not a comment

  # nothing follows

# Plots.
plots: [a, b]
"""


@pytest.mark.parametrize(
    "old",
    [
        "  net:\n    path: old\n",
        "  net: {path: old,\n    desc: x}  # gone with it\n",
        "  'net':\n\n    # inside\n    path: old  # inside\n    labels: [x]\n",
        "  net:\n    path: old\n    desc: |+\n      text\n      # text\n",
        "  net:\n    path: &p old\n    desc: *p\n",
        "  ? net\n  : path: old\n",
        "  net: null\n",
        "  net:\n",
        "  net:\n    path: old\n    desc:\n",
        "  net:\n    meta:\n      a:\n      - b: # inside\n",
    ],
)
def test_an_entry_is_replaced_and_its_neighbours_keep_their_comments(old: str) -> None:
    assert merge(MIDDLE.format(net=old), {"net": MODEL}) == MIDDLE.format(net=MODEL_LINES)


@pytest.mark.parametrize("old", ["  net:\n", "  net:\n    meta:\n      a:\n      - b:\n"])
@pytest.mark.parametrize("after", ["# c\n", "  # c\n", "\n    # c\nmetrics: []\n"])
def test_a_comment_after_an_empty_last_value_is_kept(old: str, after: str) -> None:
    text = f"artifacts:\n{old}{after}"
    assert merge(text, {"net": MODEL}) == text.replace(old, MODEL_LINES)
    last = text.replace("net", "last")
    assert merge(last, {"net": MODEL}) == last.replace(after, MODEL_LINES + after)


def test_a_new_entry_follows_the_last_one() -> None:
    text = MIDDLE.format(net=MODEL_LINES)
    merged = merge(text, {"z": {"path": "z"}})
    anchor = "      # not a comment\n"
    assert merged == text.replace(anchor, anchor + "  z:\n    path: z\n")


def test_blank_lines_of_a_block_scalar_stay_in_it() -> None:
    text = "artifacts:\n  a:\n    desc: |+\n      x\n\n\n# c\nb: 1\n"
    merged = merge(text, {"z": {"path": "z"}})
    assert merged == text.replace("# c", "  z:\n    path: z\n# c")


def test_an_entry_with_equal_values_keeps_its_lines() -> None:
    text = 'artifacts:\n  net: {type: "model", labels: [a, "b"], path: models/net.pt} # mine\n'
    assert merge(text, {"net": MODEL}) == text
    assert merge(text, {"net": {**MODEL, "labels": ["a", "b", "c"]}}) != text


def test_merging_the_same_entries_again_changes_nothing() -> None:
    once = merge(STAGES, {"net": MODEL})
    assert merge(once, {"net": MODEL}) == once


def test_a_document_that_is_indented_as_a_whole_keeps_its_indentation() -> None:
    text = "  stages: {}\n  artifacts:\n    net:\n      path: old\n"
    assert merge(text, {"net": {"path": "new"}}) == text.replace("old", "new")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# only a comment\n", "# only a comment\nartifacts:\n{net}"),
        ("---\n", "---\nartifacts:\n{net}"),
        ("--- # c\n", "--- # c\nartifacts:\n{net}"),
        ("{}\n", "artifacts:\n{net}"),
        ("null\n", "artifacts:\n{net}"),
        ("a: 1\n...\n", "a: 1\nartifacts:\n{net}...\n"),
        ("%YAML 1.2\n---\na: 1\n", "%YAML 1.2\n---\na: 1\nartifacts:\n{net}"),
        ("artifacts:\n", "artifacts:\n{net}"),
        ("artifacts:  # none\nb: 1\n", "artifacts:  # none\n{net}b: 1\n"),
        ("artifacts: null\nb: 1\n", "artifacts:\n{net}b: 1\n"),
        ("artifacts: {}  # none\nb: 1\n", "artifacts:  # none\n{net}b: 1\n"),
        ("artifacts:\n  {}\nb: 1\n", "artifacts:\n{net}b: 1\n"),
    ],
)
def test_entries_replace_an_empty_value_or_start_the_mapping(before: str, after: str) -> None:
    assert merge(before, {"net": MODEL}) == after.replace("{net}", MODEL_LINES)


def test_values_are_written_for_the_yaml_version_of_the_document() -> None:
    text = "%YAML 1.1\n---\na: yes\n"
    merged = merge(text, {"n": {"path": "x", "labels": ["yes", "012", "1:30"]}})
    assert merged.startswith(text)
    assert load(merged)["artifacts"]["n"]["labels"] == ["yes", "012", "1:30"]


def test_artifacts_in_flow_style_become_block_style_and_keep_their_entries() -> None:
    head = "# c\nstages: # d\n    a:\n        deps:\n            - 'x' # e\n"
    merged = merge(head + "artifacts: {a: {path: x}}\n# end\n", {"net": MODEL})
    opened = INDENTED.replace("artifacts:\n", "artifacts:\n    a: {path: x}\n")
    assert merged == head + opened + "# end\n"


def test_a_document_in_flow_style_stays_in_flow_style() -> None:
    assert merge("{a: 1}\n", {"n": {"path": "x"}}) == "{a: 1, artifacts: {n: {path: x}}}\n"


def test_an_alias_to_a_replaced_entry_becomes_a_copy_of_the_old_one() -> None:
    text = "artifacts:\n  net: &net\n    path: old\n# c\nother: *net\n"
    merged = merge(text, {"net": MODEL})
    assert load(merged) == {"artifacts": {"net": MODEL}, "other": {"path": "old"}}


def test_an_alias_at_the_end_of_an_entry_is_replaced_with_the_entry() -> None:
    text = "x: &x\n- 1\nartifacts:\n  net:\n    labels: *x\n\n  b:\n    labels: *x\n"
    assert merge(text, {"net": MODEL}) == text.replace("  net:\n    labels: *x\n", MODEL_LINES)


# --- What cannot be merged ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a\n", "holds a list, not a mapping, at its top level"),
        ("text\n", "holds a str, not a mapping, at its top level"),
        ("artifacts: [a]\n", "holds a list, not a mapping, under 'artifacts:'"),
        ("artifacts: text\n", "holds a str, not a mapping, under 'artifacts:'"),
        ("a: 1\nb: [1\n", r"is not valid YAML \(line 3\): .*expected ',' or '\]'"),
        ("a: 1\n\tb: 1\n", r"is not valid YAML \(line 2\)"),
        ("a: 1\nb: 1\na: 2\n", r"is not valid YAML \(line 3\): .*duplicate key \"a\""),
        ("artifacts:\n  a: {}\n  a: {}\n", r"\(line 3\): .*duplicate key"),
        ("a: 1\n---\nb: 1\n", "expected a single document"),
        ("a: *b\n", r"\(line 1\): .*undefined alias"),
        ("a: !mine b\n", r"\(line 1\): .*tag"),
        ("a: \x00\n", "special characters"),
        ("a: " + "[" * 3000, "is not valid YAML"),
        ("artifacts: &a\n  n: {path: x}\nb: *a\n", "without anchors"),
    ],
)
def test_a_document_that_cannot_be_merged_into_says_why(text: str, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        merge(text, {"net": MODEL})


# --- Values ---------------------------------------------------------------------------------

# Characters with a meaning in YAML are more frequent than in all of Unicode.
texts = st.text(st.characters(codec="utf-8"), max_size=40) | st.text(
    st.sampled_from(
        list("ab 01:-#&*!|>%@`'\"{}[],?~=<._+eTZxo\n\r\t\\\x00\x07\x7f\x85\u2028\ufeff")
    ),
    max_size=120,
)
offsets = st.timedeltas(
    min_value=datetime.timedelta(hours=-23), max_value=datetime.timedelta(hours=23)
).map(
    lambda delta: datetime.timezone(
        datetime.timedelta(minutes=delta // datetime.timedelta(minutes=1))
    )
)
scalars = (
    texts
    | st.sampled_from(["1", "1.0", "1e3", "0x1f", "0o7", "true", "no", "null", "~", "2020-01-01"])
    | st.sampled_from(["---", "...", "<<", "=", ".nan", "1_000", "1:30", "", "2020-01-01T00:00Z"])
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.binary(max_size=100)
    | st.dates()
    | st.datetimes(timezones=st.none() | offsets)
)
keys = texts | st.integers() | st.floats(allow_nan=False) | st.booleans()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(desc=texts, meta=st.dictionaries(keys, values, max_size=4))
def test_dvc_reads_back_the_values_that_were_merged(desc: str, meta: dict[Any, Any]) -> None:
    entry = {"path": "p", "desc": desc, "meta": meta}
    for text in (None, "artifacts: {a: {path: x}}\n", MIDDLE.format(net="  net: {path: x}\n")):
        assert is_same_data(load(merge(text, {"net": entry}))["artifacts"]["net"], entry)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(["net", "first", "last", "new"]), values, min_size=1))
def test_everything_except_the_named_entries_is_kept(values_by_name: dict[str, Any]) -> None:
    text = MIDDLE.format(net=MODEL_LINES)
    entries = {name: {"path": "p", "meta": {"v": value}} for name, value in values_by_name.items()}
    old = load(text)
    merged = merge(text, entries)
    assert is_same_data(load(merged), {**old, "artifacts": {**old["artifacts"], **entries}})
    assert merged.endswith(text[text.index("\n  # nothing follows") :])
    assert merged.startswith(text[: text.index("  first")])


def test_sixty_levels_of_nesting_are_read_back() -> None:
    meta: Any = "leaf"
    for _ in range(30):
        meta = {"k": [meta]}
    assert load(merge(None, {"n": {"path": "p", "meta": meta}}))["artifacts"]["n"]["meta"] == meta


def test_a_value_that_occurs_twice_is_written_twice() -> None:
    shared, day = ["a"], datetime.date(2020, 1, 1)
    entry = {"path": "p", "labels": shared, "meta": {"l": shared, "d": [day, day]}}
    assert not re.search("[&*]", merge(None, {"a": entry, "b": entry}))


@pytest.mark.parametrize(
    "zone",
    [
        datetime.timezone(datetime.timedelta(seconds=3661)),
        zoneinfo.ZoneInfo("Europe/Berlin"),
    ],
)
def test_an_instant_of_any_time_zone_is_read_back(zone: datetime.tzinfo) -> None:
    # In Berlin, this is the second 02:30 of that night.
    instant = datetime.datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=zone)
    merged = merge(None, {"n": {"path": "p", "meta": {"at": instant}}})
    assert load(merged)["artifacts"]["n"]["meta"]["at"] - instant == datetime.timedelta(0)


def test_values_of_different_types_differ_though_python_calls_them_equal() -> None:
    assert not is_same_data({"a": 1}, {"a": True})
    assert not is_same_data({"a": 1}, {"a": 1.0})
    assert not is_same_data({1: "a"}, {True: "a"})
    assert is_same_data({"a": float("nan")}, {"a": float("nan")})


def test_importing_the_module_does_not_import_ruamel() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "import asynclive._dvcyaml.merge_entries\n"
        "assert not [m for m in set(sys.modules) - before if m.startswith('ruamel')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- Repeated merges ------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    start=st.sampled_from(
        [
            None,
            "# only a comment\n",
            "stages:\n  a:\n    cmd: ls\n",
            "artifacts:\n  b: # a comment\n    path: x\n\n  # before c\n  c:\n    path: y\n\n# end",
            "artifacts: {}\nvars:\n- a: 1",
            "vars:\r\n- a: 1\r\nartifacts:\r\n    a:\r\n        path: z\r\n",
        ]
    ),
    groups=st.lists(
        st.dictionaries(
            st.sampled_from("abcdef"),
            st.fixed_dictionaries(
                {"path": st.sampled_from(["x", "y", "a/b"])},
                optional={"labels": st.lists(st.text(max_size=3), max_size=2)},
            ),
            min_size=1,
        ),
        min_size=2,
        max_size=5,
    ),
)
def test_a_merger_that_remembers_the_document_writes_the_same_as_a_new_one(
    start: str | None, groups: list[dict[str, Any]]
) -> None:
    merger = Merger()
    text = start
    for entries in groups:
        fresh = merge(text, entries)
        text = merger.merge(text, entries)
        assert text == fresh
        written = merger._last_written
        if written is not None:
            parsed = parse(text)
            assert written.pieces == parsed.pieces
            assert written.data == parsed.data


def test_a_change_by_another_program_is_parsed() -> None:
    merger = Merger()
    text = merger.merge(None, {"a": {"path": "x"}})
    text = merger.merge(f"# mine\n{text}", {"b": {"path": "y"}})
    assert load(text) == {"artifacts": {"a": {"path": "x"}, "b": {"path": "y"}}}
    assert text.startswith("# mine\n")


def test_an_anchor_that_is_used_elsewhere_is_kept_in_a_later_merge() -> None:
    merger = Merger()
    text = "artifacts:\n  net: &net\n    path: old\n# c\nother: *net\n"
    text = merger.merge(text, {"z": {"path": "z"}})
    text = merger.merge(text, {"net": MODEL})
    assert load(text) == {
        "artifacts": {"net": MODEL, "z": {"path": "z"}},
        "other": {"path": "old"},
    }


def test_an_update_that_was_not_written_is_forgotten() -> None:
    merger = Merger()
    text = merger.merge("# mine\n", {"a": {"path": "x"}})
    dropped = merger.merge(text, {"b": {"path": "y"}})
    assert load(dropped)["artifacts"] == {"a": {"path": "x"}, "b": {"path": "y"}}
    assert merger.merge(text, {"c": {"path": "z"}}) == merge(text, {"c": {"path": "z"}})
