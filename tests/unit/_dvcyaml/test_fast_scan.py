"""Leaving regular entries unparsed changes no document, no merge and no error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from asynclive._dvcyaml import fast_scan
from asynclive._dvcyaml.document import Document, DocumentError, parse, parse_whole
from asynclive._dvcyaml.entry_lines import KEY
from asynclive._dvcyaml.merge_entries import Merger, is_same_data, merge, parse_alone

NEW = {"path": "x", "labels": ["a"]}


@contextmanager
def scanning_from(min_entries: int) -> Iterator[None]:
    """Scan documents with at least so many regular entries."""
    default = fast_scan.MIN_ENTRIES
    fast_scan.MIN_ENTRIES = min_entries
    try:
        yield
    finally:
        fast_scan.MIN_ENTRIES = default


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except DocumentError as error:
        return str(error)


def data_of(document: Document) -> dict[Any, Any]:
    """Return the data of the document with its unparsed entries."""
    alone = {name: parse_alone(document, name) for name in document.unparsed}
    return {**document.data, KEY: {**document.entries, **alone}}


def assert_parsed_alike(text: str) -> bool:
    """Return whether some entries were left unparsed."""
    with scanning_from(1):
        found = outcome(parse, text)
    whole = outcome(parse_whole, text)
    if not isinstance(whole, Document):
        assert found == whole
        return False
    assert isinstance(found, Document), found
    assert found.pieces == whole.pieces
    assert found.style == whole.style
    assert found.newline == whole.newline
    if found.unparsed:
        assert is_same_data(data_of(found), whole.data)
    return bool(found.unparsed)


def merge_each(text: str, groups: list[dict[str, Any]]) -> list[Any]:
    merger, texts = Merger(), []
    for entries in groups:
        result = outcome(merger.merge, text, entries)
        texts.append(result)
        if result is not None and not result.startswith(("is not", "holds", "has '")):
            text = result
    return texts


# --- Documents in which most entries are regular ----------------------------------------------

SCALARS = [
    *("x", "a/b.pt", "./x", "../x", "/abs", "2024/01/x", "with space", "it's", "a:b", "s3://b/k"),
    *("0", "17", "-5", "0.001", "1e-3", "1.5e3", "2020-01-01", "2020-01-01 10:20:30.5", "true"),
    *("null", "yes", "'quoted'", "'it''s: #x'", '"quoted"', '"a\\nb\\x07\\u00e9"', "[]", "{}"),
    *("ein Maß", "模型 weights", "a, b; c = d (e)", "~x", "_x", "[a, b]", "{a: b}", "2020-13-45"),
    *("a: b", "a #b", "a # b", "&a x", "*a", "!t x", "!!str 1", "|", ">-", "- x", "? x", "@x"),
    *(
        "x:",
        "'",
        "'a",
        "a'",
        '"a',
        'a"',
        "{",
        "}",
        "]",
        "#",
        "x\ty",
        "x\x85y",
        "x\u2028y",
        "\ufeff",
    ),
    *("<<", "=", "~", ".inf", "0x1f", "0o17", "1_000", "12:30", "012", "''", '""', '"\\q"', "x  y"),
    *(
        "...",
        "---",
        "%YAML 1.1",
        "x\ry",
        "y",
        "1 2",
        "2020-01-01x",
        "-",
        "--- x",
        "0.1.2",
        " x",
        "x ",
    ),
]
REGULAR = SCALARS[:26]
NAMES = [
    *("a", "b", "c", "a/b", "a-1", "d.e", "'0001'", "'a'", "0001", "on", "Yes", "null", "<<"),
    *("&a a", "? a", '"a"', "1", "2020-01-01", "é", "a b", "'a b'", "net", "n", "~", "{x: y}"),
]

scalars = st.one_of(*[st.sampled_from(REGULAR)] * 6, st.sampled_from(SCALARS))
names = st.one_of(*[st.sampled_from("abcdefgh")] * 4, st.sampled_from(NAMES))


@st.composite
def bodies(draw: st.DrawFn) -> list[str]:
    """Return lines below the name of an entry."""
    lines = []
    keys = st.sampled_from(["path", "labels", "meta", "desc", "'k'"])
    for key in draw(st.lists(keys, min_size=1, max_size=3, unique=draw(st.integers(0, 9)) < 9)):
        kind = draw(st.sampled_from(["scalar", "scalar", "list", "mapping", "folded", "null"]))
        if kind == "scalar":
            lines.append(f"{key}: {draw(scalars)}")
        elif kind == "folded":
            lines += [f"{key}: {draw(scalars)}", f"  {draw(scalars)}"]
        else:
            lines.append(f"{key}:")
            inner = draw(st.integers(0, 3)) * " "
            count = draw(st.integers(1, 3))
            if kind == "list":
                lines += [f"{inner}- {draw(scalars)}" for _ in range(count)]
            elif kind == "mapping":
                lines += [f"{inner} k{number}: {draw(scalars)}" for number in range(count)]
                lines += [f"{inner} deep:", f"{inner}   x: {draw(scalars)}"]
    return lines


plain_bodies = st.lists(
    st.sampled_from(REGULAR).map(lambda value: f"path: {value}"), min_size=1, max_size=1
)
odd_lines = st.builds(
    lambda indent, mark, value: " " * indent + mark + value,
    st.integers(0, 8),
    st.sampled_from(["", "- ", "k: ", "a:", "b: ", "# ", "? ", ": "]),
    scalars | st.just(""),
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    step = draw(st.sampled_from([1, 2, 4]))
    lines = draw(
        st.sampled_from(
            [
                *[[]] * 12,
                *(["# c"], ["stages:", "  a:", "    cmd: x", "    deps:", "      - x"]),
                *(["x: |"], ["x: '"], ['x: "'], ["x: {"], ["---"], ["--- |"], ["x: &x", "  a: 1"]),
                *(["artifacts:", "  a: {path: x}"], ["%YAML 1.1", "---"], ["x:"], ["? x"]),
            ]
        )
    )
    lines = [
        *lines,
        draw(st.sampled_from(["artifacts:"] * 9 + ["artifacts:  # c", "artifacts: &x"])),
    ]
    unique = draw(st.integers(0, 9)) < 9
    for name in draw(st.lists(names, min_size=1, max_size=6, unique=unique)):
        lines.append(f"{' ' * step}{name}:")
        lines += [" " * 2 * step + line for line in draw(plain_bodies | bodies())]
        if draw(st.integers(0, 9)) == 9:
            lines.append(draw(odd_lines))
    lines += draw(
        st.sampled_from(
            [
                *[[]] * 8,
                *([""], ["# end"], ["plots:", "- a"], ["x: *x"], ["..."], ["'"], ["}"]),
                ["---"],
            ]
        )
    )
    newline = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    return newline.join(lines) + draw(st.sampled_from([newline, newline, ""]))


def test_a_merge_key_among_the_entries_leaves_the_document_to_the_parser() -> None:
    entries = ["on", "<<", "a", "on"]
    text = "artifacts:\n" + "".join(f" {name}:\n  path: x\n" for name in entries)
    assert not assert_parsed_alike(text)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_a_scanned_document_equals_the_parsed_one(text: str) -> None:
    assert_parsed_alike(text)


entries = st.dictionaries(
    st.sampled_from(["a", "b", "c", "0001", "new"]),
    st.fixed_dictionaries(
        {"path": st.sampled_from(["x", "y"])}, optional={"labels": st.just(["v"])}
    ),
    min_size=1,
    max_size=2,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents(), st.lists(entries, min_size=1, max_size=3))
def test_merges_into_a_scanned_document_write_the_same_text(
    text: str, groups: list[dict[str, Any]]
) -> None:
    with scanning_from(1):
        scanned = merge_each(text, groups)
    with scanning_from(10**9):
        assert scanned == merge_each(text, groups)


# --- Large documents --------------------------------------------------------------------------


def large(*, newline: str = "\n", tail: str = "plots:\n- a\n", **odd: str) -> str:
    """Return a document of 40 regular entries. ``n7`` gives lines before entry 7."""
    lines = ["stages:\n  train:\n    cmd: x\n\n# Ours.\nartifacts:\n"]
    for number in range(40):
        lines.append(odd.get(f"n{number}", ""))
        lines.append(
            f"  e-{number}:\n    path: data/{number}.bin\n    type: dataset\n"
            f"    labels:\n    - train\n    - '{number}'\n"
            f"    meta:\n      lr: 0.001\n      opt:\n        name: adam\n        at: 2024-01-02\n"
        )
    return "".join([*lines, tail]).replace("\n", newline)


ODD = "  odd: {path: x}  # flow\n\n  # a comment\n  odder:\n    path: &p x\n    desc: *p\n"


@pytest.mark.parametrize(
    "text",
    [
        large(),
        large(newline="\r\n"),
        large(tail=""),
        large().rstrip("\n"),
        large(n0=ODD),
        large(n20=ODD),
        large(n20=ODD, tail="\n# the end\n"),
        large(n39="  last:\n    desc: |+\n      text\n\n\n"),
    ],
)
def test_a_merge_into_a_large_document_is_the_same_with_and_without_the_scan(text: str) -> None:
    assert assert_parsed_alike(text)
    assert len(parse(text).unparsed) >= 36
    for change in ({"new": NEW}, {"e-7": NEW}, {"e-0": NEW, "e-39": NEW, "e-20": NEW, "z": NEW}):
        merged = merge(text, change)
        with scanning_from(10**9):
            assert merged == merge(text, change)
        old = YAML(typ="safe").load(text)
        assert is_same_data(
            YAML(typ="safe").load(merged), {**old, "artifacts": {**old["artifacts"], **change}}
        )


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ("  e-7:\n    path: again\n", "duplicate key"),
        ("  bad: [\n", "is not valid YAML"),
        ("  bad:\n    path: x\n   desc: y\n", "is not valid YAML"),
        ("  bad: *nowhere\n", "undefined alias"),
        ("  bad:\n    path: 2020-13-45\n", "month must be in 1..12"),
        ("  bad:\n    path: x\n    path: y\n", "duplicate key"),
        ("\t\n  bad: x\n\tx: y\n", "is not valid YAML"),
    ],
)
def test_a_large_document_with_a_fault_is_refused_with_the_same_error(
    odd: str, reason: str
) -> None:
    text = large(n20=odd)
    with pytest.raises(DocumentError, match=reason) as caught:
        merge(text, {"new": NEW})
    with pytest.raises(DocumentError) as expected:
        parse_whole(text)
    assert str(caught.value) == str(expected.value)


def test_a_regular_entry_with_equal_values_keeps_its_lines() -> None:
    text = large()
    same = YAML(typ="safe").load(text)["artifacts"]["e-7"]
    assert merge(text, {"e-7": same}) == text


def test_lines_of_a_quoted_text_are_not_taken_for_entries() -> None:
    text = 'other: "\n' + large().partition("# Ours.\n")[2] + '"\n'
    assert not parse(text).unparsed
    merged = merge(text, {"new": NEW})
    assert YAML(typ="safe").load(merged) == {
        **YAML(typ="safe").load(text),
        "artifacts": {"new": NEW},
    }


def test_an_alias_to_all_artifacts_is_found_although_most_are_unparsed() -> None:
    text = large(tail="copy: *all\n").replace("artifacts:\n", "artifacts:\n  &all\n", 1)
    with pytest.raises(DocumentError, match="without anchors"):
        merge(text, {"e-7": NEW})
