"""Hostile metadata: refused at the call by the place and the type, or read back equal by all."""

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
    {"typ": "safe"},  # with libyaml where it is installed, as DVC reads
    {"typ": "safe", "pure": True},
    {"typ": "rt"},
]


def nested(levels: int, kind: type) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind is list else {"a": value}
    return {"a": value}


def in_a_circle(kind: type) -> dict[str, Any]:
    meta: dict[str, Any] = {"a": [1]}
    meta["a"].append(meta["a"] if kind is list else meta)
    return meta


def laughs(kind: type) -> dict[str, Any]:
    """Forty objects that stand for a million million."""
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
    """Equal to nothing but itself, so that a dict holds two of the same characters."""

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
    "a dict in itself": ({"meta": in_a_circle(dict)}, "meta", "contains itself"),
    "a list in itself": ({"meta": in_a_circle(list)}, "meta", "contains itself"),
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
@pytest.mark.parametrize("case", TOO_LARGE)
async def test_what_is_too_large_is_refused_at_the_call_in_a_short_message(
    repo: Path, case: str
) -> None:
    values, field, reason = TOO_LARGE[case]
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo) as live:
        with refused(repo, InvalidMetadataError, match=reason) as caught:
            # The first step of the coroutine: it has waited for nothing.
            live.log_artifact("model.pt", **values).send(None)
        assert caught.value.field == field
        assert len(str(caught.value)) < 200
        logged = await live.log_artifact("model.pt", type="model")
    assert logged.meta is None
    assert_nothing_lost(repo)


@pytest.mark.anyio
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
    ("around", "field"),
    [
        (lambda value: {"a": value}, "meta['a']"),
        (lambda value: {"a": [0, 1, 2, value]}, "meta['a'][3]"),
        (lambda value: {"a": {"b": ({7: value},)}}, "meta['a']['b'][0][7]"),
    ],
)
def test_another_type_is_named_with_the_way_to_it(
    around: Callable[[Any], dict[Any, Any]], field: str, value: Any
) -> None:
    with pytest.raises(InvalidMetadataError) as caught:
        check_meta(around(value))
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
def test_a_key_of_another_type_is_named(key: Any) -> None:
    with pytest.raises(InvalidMetadataError, match=f"a key of type {type(key).__name__}") as caught:
        check_meta({"a": [{key: 1}]})
    assert caught.value.field.startswith("meta['a'][0][")


def test_two_keys_that_would_become_one_are_refused() -> None:
    with pytest.raises(InvalidMetadataError, match="occurs twice"):
        check_meta({"a": {Sneaky("k"): 1, Sneaky("k"): 2}})


def test_a_subclass_cannot_answer_for_the_value_it_holds() -> None:
    copied = check_meta({"a": Liar(7)})
    assert copied == {"a": 7}
    assert type(copied["a"]) is int


def test_numpy_scalars_that_are_python_numbers_pass_and_others_are_named() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    assert repr(check_meta({"a": numpy.float64(0.5)})) == "{'a': 0.5}"
    for value in (numpy.float32(1), numpy.int64(1), numpy.bool_(1), numpy.zeros(2)):
        kind = type(value)
        with pytest.raises(InvalidMetadataError, match=f"{kind.__module__}.{kind.__qualname__}"):
            check_meta({"a": value})


def test_the_way_to_a_value_costs_nothing_where_it_is_not_asked_for() -> None:
    # A megabyte of key above ten thousand values would be ten gigabytes of messages.
    meta = {"k" * 900_000: dict.fromkeys(range(9_000), 1)}
    tracemalloc.start()
    try:
        check_meta(meta)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def test_a_million_characters_and_ten_thousand_values_pass_and_no_more() -> None:
    text = {"a": "x" * 999_999}
    assert check_meta(text) == text
    values = {"a": [0] * 9_998}
    assert check_meta(values) == values
    for more in ({"a": "x" * 1_000_000}, {"a": [0] * 9_999}):
        with pytest.raises(InvalidMetadataError, match="has more than"):
            check_meta(more)


# --- What is accepted -----------------------------------------------------------------------

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
        # The round-trip reader's own types are subclasses that compare equal.
        yield YAML(**reader).load(text)["artifacts"]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the loop has no part in it
async def test_odd_values_are_read_back_equal_by_each_reader_and_by_dvc(repo: Path) -> None:
    write(repo, {"a.pt": "a", "b.pt": "b", "c.pt": "c"})
    labels = [*ODD["controls"], *ODD["syntax"], *ODD["words"], *ODD["templates"]]
    async with AsyncLive(root=repo) as live:
        a = await live.log_artifact("a.pt", type="\x85: #", desc="\x00\n---\n${x", meta=ODD)
        b = await live.log_artifact("b.pt", type="model", labels=labels)
        c = await live.log_artifact("c.pt", meta={"a": "x" * 200_000})
    assert repr(a.meta) == repr(ODD)
    text = (repo / "dvc.yaml").read_bytes().decode()
    for artifacts in read(text):
        # As it is written, "${" is escaped: it would be a template of DVC's.
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


def assert_same(found: Any, wanted: Any) -> None:
    """Equal, by value and by kind: nan is not equal to itself, and 1 is not True here."""
    if isinstance(wanted, dict):
        assert len(found) == len(wanted)
        for (key, item), (other, wanted_item) in zip(found.items(), wanted.items(), strict=True):
            assert_same(key, other)
            assert_same(item, wanted_item)
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for item, other in zip(found, wanted, strict=True):
            assert_same(item, other)
    elif isinstance(wanted, float):
        assert repr(float(found)) == repr(wanted)
    else:
        assert isinstance(found, type(wanted)), (found, wanted)
        assert found == wanted


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
def test_random_texts_are_read_back_equal_by_each_reader(meta: dict[str, Any]) -> None:
    copied = check_meta(meta)
    for artifacts in read(merge(None, {"net": {"path": "x", "meta": copied}})):
        assert_same(artifacts["net"]["meta"], meta)
