"""Names, texts, labels and meta: accepted values are plain copies that YAML can express."""

from __future__ import annotations

import datetime
import enum
import pathlib
from collections import OrderedDict, UserDict
from typing import Any

import pytest
from dvc.parsing.context import Context
from gto.constants import name_re
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from asynclive._artifact.metadata import (
    check_labels,
    check_meta,
    check_name,
    check_text,
    escape_templates,
    make_name,
)
from asynclive._dvcyaml.merge_entries import merge
from asynclive._errors import InvalidArtifactNameError, InvalidMetadataError

PLAIN = (dict, list, str, int, float, bool, bytes, datetime.date, datetime.datetime, type(None))


class Text(str):
    """A subclass of str whose methods return another value."""

    def __str__(self) -> str:
        return "something else"

    def __repr__(self) -> str:
        return "Text()"


class Number(int):
    pass


class Fraction(float):
    pass


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Anything:
    pass


def is_plain(value: Any) -> bool:
    """Return whether a value has plain types only, no subclasses."""
    if type(value) is dict:
        return all(is_plain(key) and is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    return type(value) in PLAIN


def containers(value: Any) -> set[int]:
    """Return the identities of the dicts and lists in a value."""
    if isinstance(value, dict):
        return {id(value)}.union(*map(containers, value.values()))
    if isinstance(value, (list, tuple)):
        return {id(value)}.union(*map(containers, value))
    return set()


# --- Names ----------------------------------------------------------------------------------


@given(st.text(max_size=8) | st.text("aZ09-_/.\n", max_size=8))
@example("a\n")  # which a regular expression's $ lets pass
def test_a_name_passes_if_the_model_registry_accepts_it(name: str) -> None:
    # The "$" of the registry's rule matches before a final newline. Such a name breaks Git's tags.
    if name_re.fullmatch(name) is None or "\n" in name:
        with pytest.raises(InvalidArtifactNameError):
            check_name(name)
    else:
        assert check_name(name) == name


@given(st.text(max_size=12) | st.text("ab=./-_ é", max_size=12))
def test_a_made_name_is_valid_and_a_valid_one_stays(stem: str) -> None:
    made = make_name(stem)
    if name_re.fullmatch(stem):
        assert made == stem.strip("\n")
    if made is not None:
        assert check_name(made) == made
    else:
        assert not any(char.isascii() and char.isalnum() for char in stem)


def test_the_error_of_a_refused_name_suggests_a_valid_one_if_possible() -> None:
    with pytest.raises(InvalidArtifactNameError, match="For example: 'epoch-1-step-2'") as caught:
        check_name("epoch=1-step=2")
    assert caught.value.name == "epoch=1-step=2"
    with pytest.raises(InvalidArtifactNameError, match=r"a number\.$"):
        check_name("é")


def test_a_name_that_is_not_a_str_is_refused() -> None:
    with pytest.raises(InvalidArtifactNameError, match="must be a str"):
        check_name(7)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [Text("net"), Colour.RED], ids=["subclass", "enum"])
def test_a_name_becomes_a_plain_str_that_yaml_can_write(name: str) -> None:
    checked = check_name(name)
    assert type(checked) is str
    assert f"{checked}:" in merge(None, {checked: {"path": "x"}})


# --- Texts and labels -----------------------------------------------------------------------


@pytest.mark.parametrize("value", [Text("text"), Colour.RED, "text", ""])
def test_a_text_becomes_a_plain_str_of_its_own_characters(value: str) -> None:
    checked = check_text("desc", value)
    assert type(checked) is str
    assert checked == value


def test_no_text_is_none() -> None:
    assert check_text("desc", None) is None


@pytest.mark.parametrize("value", [1, b"text", ["text"], pathlib.Path("x"), "\ud800"])
def test_a_value_that_is_not_a_str_is_refused_and_its_argument_named(value: object) -> None:
    with pytest.raises(InvalidMetadataError, match=r"^desc ") as caught:
        check_text("desc", value)
    assert caught.value.field == "desc"


@pytest.mark.parametrize("labels", [["a", Text("b")], ("a", "b")])
def test_labels_become_a_list_of_plain_str(labels: Any) -> None:
    checked = check_labels(labels)
    assert checked == ["a", "b"]
    assert type(checked) is list
    assert checked is not labels
    assert is_plain(checked)


@pytest.mark.parametrize(
    ("labels", "field"),
    [
        ("one", "labels"),
        ({"a"}, "labels"),
        ({"a": 1}, "labels"),
        (["a", 1], "labels[1]"),
        ([None], "labels[0]"),
        (["a", "b", "\udcff"], "labels[2]"),
    ],
)
def test_labels_that_are_not_a_list_of_str_are_refused_and_the_value_named(
    labels: Any, field: str
) -> None:
    with pytest.raises(InvalidMetadataError) as caught:
        check_labels(labels)
    assert caught.value.field == field


# --- Meta -----------------------------------------------------------------------------------

encodable = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
# No zones of zoneinfo: by PEP 495 a time in their gaps equals no time in another zone.
zones = st.integers(-23 * 60, 23 * 60).map(
    lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))
)
times = st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30))
modern_times = st.datetimes(
    datetime.datetime(1990, 1, 1), datetime.datetime(2030, 1, 1), timezones=zones
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | encodable
    | encodable.map(Text)
    | st.integers().map(Number)
    | st.floats(allow_nan=False).map(Fraction)
    | st.sampled_from([*Colour, *Level])
    | st.binary(max_size=8)
    | st.dates()
    | times
    | modern_times
)
keys = encodable | st.integers() | st.floats(allow_nan=False) | st.booleans() | encodable.map(Text)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4).map(OrderedDict)
    ),
    max_leaves=12,
)
metas = st.dictionaries(keys, values, max_size=4)


def as_lists(value: Any) -> Any:
    """Return a value with lists instead of tuples: YAML does not distinguish them."""
    if isinstance(value, dict):
        return {key: as_lists(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_lists(item) for item in value]
    return value


@given(metas)
def test_accepted_meta_is_an_equal_copy_of_plain_types_that_shares_nothing(meta: Any) -> None:
    copied = check_meta(meta)
    assert copied == as_lists(meta)
    assert is_plain(copied)
    assert not containers(copied) & containers(meta)


@given(metas)
def test_dvc_reads_accepted_meta_back_equal(meta: Any) -> None:
    copied = check_meta(meta)
    text = merge(None, {"net": {"path": "x", "meta": copied}})
    assert YAML(typ="safe").load(text)["artifacts"]["net"]["meta"] == copied


inexpressible = st.sampled_from(
    [
        {1},
        frozenset(),
        range(3),
        1j,
        print,
        Anything(),
        Anything,
        pathlib.Path("x"),
        bytearray(b"x"),
        datetime.time(1),
        datetime.timedelta(1),
        UserDict(),
        ...,
        "\ud800",
        1 << 20_000,
    ]
)


@given(
    st.lists(encodable | st.integers(0, 3), max_size=5),
    inexpressible,
    st.dictionaries(st.integers(), values, max_size=3),
)
def test_a_value_that_yaml_cannot_express_is_refused_and_its_path_named(
    path: list[str | int], bad: Any, others: dict[Any, Any]
) -> None:
    value, field = bad, "meta"
    for step in reversed(path):
        # Put valid values before an index, and valid keys next to a key.
        value = [0] * step + [value] if type(step) is int else {**others, step: value}
    for step in ["k", *path]:
        field += f"[{step!r}]"
    with pytest.raises(InvalidMetadataError) as caught:
        check_meta({"k": value})
    assert caught.value.field == field
    assert str(caught.value).startswith(field)


@pytest.mark.parametrize("key", [None, (1, 2), b"key", datetime.date(2020, 1, 1), float("nan")])
def test_a_key_that_yaml_or_json_cannot_express_is_refused(key: Any) -> None:
    with pytest.raises(InvalidMetadataError) as caught:
        check_meta({"k": [{key: 1}]})
    assert caught.value.field.startswith("meta['k'][0]")


def test_a_key_that_utf8_cannot_encode_is_refused() -> None:
    with pytest.raises(InvalidMetadataError, match=r"the key '\\ud800' of meta\['k'\]"):
        check_meta({"k": {"\ud800": 1}})


def test_a_key_too_long_to_print_is_refused_as_metadata() -> None:
    try:
        check_meta({10**5000: 1})
    except InvalidMetadataError:
        return
    pytest.fail("it passed")


@pytest.mark.parametrize("meta", ["text", [("k", 1)], 1, UserDict()])
def test_meta_that_is_not_a_dict_is_refused(meta: Any) -> None:
    with pytest.raises(InvalidMetadataError, match="meta must be a dict"):
        check_meta(meta)


def test_no_meta_is_none_and_an_empty_one_is_empty() -> None:
    assert check_meta(None) is None
    assert check_meta({}) == {}


def nested(levels: int) -> dict[str, Any]:
    """Return a dict with this many nested containers in it."""
    value: Any = "end"
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return {"k": value}


def test_meta_may_be_nested_64_levels_deep_and_no_deeper() -> None:
    copied = check_meta(nested(63))
    assert copied == nested(63)
    merge(None, {"net": {"path": "x", "meta": copied}})
    with pytest.raises(InvalidMetadataError, match="nested deeper than 64 levels"):
        check_meta(nested(64))


@pytest.mark.parametrize("kind", ["dict", "list"])
def test_a_value_that_contains_itself_is_refused(kind: str) -> None:
    meta: dict[str, Any] = {"k": []}
    meta["k"].append(meta if kind == "dict" else meta["k"])
    with pytest.raises(InvalidMetadataError, match="contains itself"):
        check_meta(meta)


def test_shared_lists_that_expand_to_billions_of_values_are_refused() -> None:
    shared: Any = ["laugh"]
    for _ in range(40):
        shared = [shared, shared]
    with pytest.raises(InvalidMetadataError, match="more than 10000 values"):
        check_meta({"k": shared})


def test_a_shared_list_becomes_two_lists() -> None:
    shared = [1]
    copied = check_meta({"a": shared, "b": shared})
    assert copied is not None
    assert copied["a"] is not copied["b"]
    assert "&" not in merge(None, {"net": {"path": "x", "meta": copied}})


@pytest.mark.parametrize(
    "zone",
    [
        datetime.timezone(datetime.timedelta(hours=-1)),
        datetime.timezone(datetime.timedelta(hours=1)),
    ],
)
def test_a_time_that_utc_cannot_express_is_refused(zone: datetime.timezone) -> None:
    ends = (datetime.datetime.min.replace(tzinfo=zone), datetime.datetime.max.replace(tzinfo=zone))
    refused = 0
    for end in ends:
        try:
            check_meta({"k": end})
        except InvalidMetadataError:
            refused += 1
    assert refused == 1


def test_a_time_whose_offset_has_seconds_is_refused() -> None:
    zone = datetime.timezone(datetime.timedelta(seconds=30))
    with pytest.raises(InvalidMetadataError):
        check_meta({"k": datetime.datetime(2020, 1, 1, tzinfo=zone)})


# --- Templates ------------------------------------------------------------------------------


templates = st.text("${}\\ab.", max_size=8)


@given(
    st.recursive(templates, lambda inner: st.lists(inner) | st.dictionaries(st.text("ab"), inner))
)
def test_dvc_resolves_an_escaped_value_to_the_original(value: Any) -> None:
    assert Context().resolve(escape_templates({"k": value})) == {"k": value}


@pytest.mark.parametrize("key", ["${a}", "\\${a}"])
def test_dvc_resolves_an_escaped_key_to_the_original(key: str) -> None:
    assert Context().resolve(escape_templates({key: 1})) == {key: 1}
