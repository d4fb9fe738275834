"""Hostile metadata is refused at the call, with its path and type, or all readers read it equal."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import tracemalloc
import types
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backends import on_asyncio
from disk import refused, write
from dvc.repo import Repo
from hypothesis import example, given, settings
from hypothesis import strategies as st
from invariants import assert_nothing_lost
from ruamel.yaml import YAML
from twin import dvc

from asynclive import AsyncLive, InvalidArtifactNameError, InvalidMetadataError
from asynclive._artifact.metadata import check_meta, escape_templates
from asynclive._dvcyaml.merge_entries import merge

READERS: list[dict[str, Any]] = [
    {"typ": "safe"},  # as DVC reads: with libyaml if it is installed
    {"typ": "safe", "pure": True},
    {"typ": "rt"},
]


def nested(levels: int, kind: type) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind is list else {"a": value}
    return {"a": value}


def holding_itself(kind: type) -> dict[str, Any]:
    meta: dict[str, Any] = {"a": [1]}
    meta["a"].append(meta["a"] if kind is list else meta)
    return meta


def laughs(kind: type) -> dict[str, Any]:
    """Return forty objects that expand to 2 ** 40 values."""
    value: Any = "laugh"
    for _ in range(40):
        value = [value, value] if kind is list else {"a": value, "b": value}
    return {"a": value}


class Endless(dict[str, int]):
    def items(self) -> Iterator[tuple[str, int]]:  # type: ignore[override]
        number = 0
        while True:
            yield str(number), number
            number += 1


class EndlessList(list[int]):
    def __iter__(self) -> Iterator[int]:
        while True:
            yield 1


class Shade(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Data:
    a: int = 1


class Sneaky(str):
    """A string that equals only itself, so that a dict can hold two with the same characters."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__


class Liar(int):
    def __int__(self) -> int:
        return 10**6000

    def bit_length(self) -> int:
        return 1


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


TOO_LARGE = {
    "a dict in itself": ({"meta": holding_itself(dict)}, "meta", "contains itself"),
    "a list in itself": ({"meta": holding_itself(list)}, "meta", "contains itself"),
    "dicts 1,000 deep": ({"meta": nested(1000, dict)}, "meta", "64 levels"),
    "lists 1,000 deep": ({"meta": nested(1000, list)}, "meta", "64 levels"),
    "a billion laughs": ({"meta": laughs(list)}, "meta", "10000 values"),
    "a billion laughs of dicts": ({"meta": laughs(dict)}, "meta", "10000 values"),
    "a dict without end": ({"meta": Endless(a=1)}, "meta", "10000 values"),
    "a list without end": ({"meta": {"a": EndlessList([1])}}, "meta", "10000 values"),
    "labels without end": ({"labels": ["x"] * 20_000}, "labels", "10000 values"),
    "a text of 10 MB": ({"meta": {"a": "x" * 10**7}}, "meta", "1000000 characters"),
    "a key of 10 MB": ({"meta": {"x" * 10**7: 1}}, "meta", "1000000 characters"),
    "bytes of 10 MB": ({"meta": {"a": bytes(10**7)}}, "meta", "1000000 characters"),
    "10 MB in parts": ({"meta": {"a": ["x" * 2000] * 5000}}, "meta", "1000000 characters"),
    "10 MB of digits": ({"meta": {"a": [10**3000] * 4000}}, "meta", "1000000 characters"),
    "a desc of 10 MB": ({"desc": "x" * 10**7}, "desc", "1000000 characters"),
    "a type of 10 MB": ({"type": "x" * 10**7}, "type", "1000000 characters"),
    "labels of 10 MB": ({"labels": ["x" * 10**6] * 10}, "labels", "1000000 characters"),
    "5,000 digits": ({"meta": {"a": 10**5000}}, "meta['a']", "too large an integer"),
}


@pytest.mark.anyio
@on_asyncio
@pytest.mark.parametrize("case", TOO_LARGE)
async def test_metadata_that_is_too_large_is_refused_at_the_call_in_a_short_message(
    repo: Path, case: str
) -> None:
    values, field, reason = TOO_LARGE[case]
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo) as live:
        with refused(repo, InvalidMetadataError, match=reason) as caught:
            # The call fails in its first step, before it waits for anything.
            live.log_artifact("model.pt", **values).send(None)
        assert caught.value.field == field
        assert len(str(caught.value)) < 200
        logged = await live.log_artifact("model.pt", type="model")
    assert logged.meta is None
    assert_nothing_lost(repo)


@pytest.mark.anyio
@on_asyncio
async def test_a_name_of_10_mb_is_refused_in_a_short_message(repo: Path) -> None:
    async with AsyncLive(root=repo) as live:
        with refused(repo, InvalidArtifactNameError) as caught:
            live.log_artifact("model.pt", name="x" * 10**7).send(None)
    assert len(str(caught.value)) < 400


UNFIT: list[Any] = [
    {1, 2},
    frozenset(),
    Shade.RED,
    Data(),
    Unprintable(),
    decimal.Decimal(1),
    fractions.Fraction(1, 2),
    uuid.UUID(int=0),
    datetime.time(1),
    datetime.timedelta(1),
    range(3),
    memoryview(b"a"),
    bytearray(b"a"),
    1j,
    ...,
    types.SimpleNamespace(a=1),
    types.MappingProxyType({"a": 1}),
    collections.UserString("a"),
    collections.deque([1]),
    (item for item in "ab"),
    print,
    int,
    NotImplemented,
]


@pytest.mark.parametrize("value", UNFIT, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    ("wrap", "field"),
    [
        (lambda value: {"a": value}, "meta['a']"),
        (lambda value: {"a": [0, 1, 2, value]}, "meta['a'][3]"),
        (lambda value: {"a": {"b": ({7: value},)}}, "meta['a']['b'][0][7]"),
    ],
)
def test_a_value_of_another_type_is_named_by_its_path_and_type(
    wrap: Callable[[Any], dict[Any, Any]], field: str, value: Any
) -> None:
    with pytest.raises(InvalidMetadataError) as caught:
        check_meta(wrap(value))
    assert caught.value.field == field
    kind = type(value)
    assert str(caught.value).startswith(
        f"{field} is of type {kind.__module__}.{kind.__qualname__}, "
    )


@pytest.mark.parametrize(
    "key",
    [None, (1,), (10**5000,), b"a", frozenset(), Shade.RED, Unprintable(), datetime.date(1, 1, 1)],
    ids=lambda key: type(key).__name__,
)
def test_a_key_of_another_type_is_named_by_its_type(key: Any) -> None:
    with pytest.raises(InvalidMetadataError, match=f"a key of type {type(key).__name__}") as caught:
        check_meta({"a": [{key: 1}]})
    assert caught.value.field.startswith("meta['a'][0][")


def test_two_keys_that_become_equal_are_refused() -> None:
    with pytest.raises(InvalidMetadataError, match="occurs twice"):
        check_meta({"a": {Sneaky("k"): 1, Sneaky("k"): 2}})


def test_a_subclass_is_checked_by_its_value_and_not_by_its_methods() -> None:
    copied = check_meta({"a": Liar(7)})
    assert copied == {"a": 7}
    assert type(copied["a"]) is int


def test_numpy_scalars_pass_if_they_are_python_numbers_and_others_are_named() -> None:
    import numpy  # with matplotlib

    assert repr(check_meta({"a": numpy.float64(0.5)})) == "{'a': 0.5}"
    for value in (numpy.float32(1), numpy.int64(1), numpy.bool_(1), numpy.zeros(2)):
        kind = type(value)
        with pytest.raises(InvalidMetadataError, match=f"{kind.__module__}.{kind.__qualname__}"):
            check_meta({"a": value})


def test_the_path_to_a_value_is_only_built_for_a_message() -> None:
    # With a key of a megabyte above ten thousand values, all paths would take ten gigabytes.
    meta = {"k" * 900_000: dict.fromkeys(range(9_000), 1)}
    tracemalloc.start()
    try:
        check_meta(meta)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def test_the_limits_are_a_million_characters_and_ten_thousand_values() -> None:
    text = {"a": "x" * 999_999}
    assert check_meta(text) == text
    values = {"a": [0] * 9_998}
    assert check_meta(values) == values
    for more in ({"a": "x" * 1_000_000}, {"a": [0] * 9_999}):
        with pytest.raises(InvalidMetadataError, match="has more than"):
            check_meta(more)


# --- Accepted metadata ----------------------------------------------------------------------

ODD: dict[str, Any] = {
    "controls": [chr(code) for code in (*range(32), *range(127, 160))],
    "spaces and breaks": ["\xa0", "\u2028", "\u2029", "\u200b", "\ufeff", "\ufffe", "\U0010ffff"],
    "around": ["\ufeffa", "a\x85", "\x85", " a", "a ", "\ta", "a\t", "\na", "a\n", "\n", "\r\n"],
    "syntax": ["#", "# a", "a #b", "a: b", ": ", "- a", "? a", "!!str a", "!a", "&a b", "*a"],
    "documents": ["---", "...", "--- a", "%YAML 1.1", "\n---\n", "'", '"', "|", ">", "a\n...\n"],
    "words": ["<<", "=", "~", "null", "yes", "0x1", "1_0", "1e3", ".inf", ".nan", "1:30", "", " "],
    "templates": ["${a}", "${", "\\${a}", "$${a}", "${${a}}", "\\\\${", "${vars.x}", "$"],
    "tags": ["!!python/object/apply:os.system [x]", "!<tag:yaml.org,2002:int> 1", "!!binary x"],
    "long": ["x" * 5000, "word " * 1000, "\t" * 300, "é " * 300, "a\n" * 300, "  a" * 100],
    "numbers": [-0.0, 5e-324, 1.7e308, float("inf"), float("-inf"), float("nan"), 2**9999, -1],
    "like numbers": ["-0", "1.", ".5", "+1", "0o7", "08", "1,000", "\u0661", "1__0", "0b1"],
    "bytes": [b"", b"\x00\xff", bytes(range(256))],
    "dates": [
        datetime.date.min,
        datetime.date.max,
        datetime.datetime(1, 1, 1),
        datetime.datetime(2020, 2, 29, 23, 59, 59, 999999),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc),
        datetime.datetime(2020, 1, 1, 1, 2, 3, 4, datetime.timezone(datetime.timedelta(hours=5))),
    ],
    "empty": [{}, [], [[]], [{}], {"": {}}, {"": ""}],
    "keys": {
        **dict.fromkeys(["<<", "=", "? a", "- a", "", " ", "\n", "\x85", "a: b", "#", "${a}"], 1),
        **dict.fromkeys([True, 0, 1.5, -7, float("inf"), "true", "0", "1.5", "k" * 3000], 2),
        "<< ": {"<<": [{"a": 1}]},
    },
    "deep": nested(60, dict),
}


def read(text: str) -> Iterator[Any]:
    for reader in READERS:
        # The types of the round-trip reader are subclasses that compare equal.
        yield YAML(**reader).load(text)["artifacts"]


@pytest.mark.anyio
@on_asyncio  # the event loop does not matter
async def test_dvc_and_each_reader_read_odd_values_back_equal(repo: Path) -> None:
    write(repo, {"a.pt": "a", "b.pt": "b", "c.pt": "c"})
    labels = [*ODD["controls"], *ODD["syntax"], *ODD["words"], *ODD["templates"]]
    async with AsyncLive(root=repo) as live:
        a = await live.log_artifact("a.pt", type="\x85: #", desc="\x00\n---\n${x", meta=ODD)
        b = await live.log_artifact("b.pt", type="model", labels=labels)
        c = await live.log_artifact("c.pt", meta={"a": "x" * 200_000})
    assert repr(a.meta) == repr(ODD)
    text = (repo / "dvc.yaml").read_bytes().decode()
    for artifacts in read(text):
        # asynclive escapes "${" in the file, since DVC takes it for a template.
        assert_same(artifacts["a"]["meta"], escape_templates(ODD))
        assert artifacts["b"]["labels"] == escape_templates(labels)
        assert artifacts["c"]["meta"] == c.meta
    with Repo(str(repo)) as dvc_repo:
        artifacts = dvc_repo.artifacts.read()["dvc.yaml"]
    assert_same(artifacts["a"].meta, ODD)
    assert (artifacts["a"].type, artifacts["a"].desc) == (a.type, a.desc)
    assert artifacts["b"].labels == b.labels == labels
    assert artifacts["c"].meta == c.meta
    assert "up to date" in dvc(repo, "status")
    assert_nothing_lost(repo)


def assert_same(actual: Any, wanted: Any) -> None:
    """Check equality by value and by type: nan equals nan here, and 1 does not equal True."""
    if isinstance(wanted, dict):
        assert len(actual) == len(wanted)
        for (key, item), (other, wanted_item) in zip(actual.items(), wanted.items(), strict=True):
            assert_same(key, other)
            assert_same(item, wanted_item)
    elif isinstance(wanted, list):
        assert len(actual) == len(wanted)
        for item, other in zip(actual, wanted, strict=True):
            assert_same(item, other)
    elif isinstance(wanted, float):
        assert repr(float(actual)) == repr(wanted)
    else:
        assert isinstance(actual, type(wanted)), (actual, wanted)
        assert actual == wanted


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
long_texts = st.lists(
    texts | st.sampled_from(["word", " ", "\t", "\n", "  ", "x" * 90, "# ", ": ", "\x85", "\\"]),
    max_size=40,
).map("".join)
metas = st.recursive(
    long_texts | st.floats() | st.integers() | st.binary(max_size=60) | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(long_texts, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.dictionaries(long_texts, metas, max_size=3))
@example({"a": "\n " + "x" * 100 + "\t\n"})
def test_each_reader_reads_random_texts_back_equal(meta: dict[str, Any]) -> None:
    copied = check_meta(meta)
    for artifacts in read(merge(None, {"net": {"path": "x", "meta": copied}})):
        assert_same(artifacts["net"]["meta"], meta)
