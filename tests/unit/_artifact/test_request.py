"""make_request: the arguments of a call are checked and copied, without any I/O."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclive._artifact.request import ArtifactRequest, make_request
from asynclive._errors import (
    ArtifactPathError,
    AsyncLiveError,
    InvalidArtifactNameError,
    InvalidDataTypeError,
    InvalidMetadataError,
)
from asynclive._fs.paths import is_inside

ROOT = "/repo/work"
ARTIFACTS = "/repo/work/dvclive/artifacts"


def request(path: Any, **values: Any) -> ArtifactRequest:
    return make_request(
        path, **{"root": ROOT, "real_root": ROOT, "artifacts_dir": ARTIFACTS} | values
    )


class Named:
    """An os.PathLike that the caller defines."""

    def __init__(self, path: Any) -> None:
        self.path = path

    def __fspath__(self) -> Any:
        return self.path


# --- Values ---------------------------------------------------------------------------------


def test_a_path_alone_is_logged_in_place_and_gets_no_entry() -> None:
    assert request("models/net.pt") == ArtifactRequest(
        given="models/net.pt",
        source="/repo/work/models/net.pt",
        path="/repo/work/models/net.pt",
        artifacts_dir=None,
        cache=True,
        name="net",
        entry=None,
    )


def test_all_values_go_into_the_entry_and_into_the_record() -> None:
    values: dict[str, Any] = {"type": "model", "desc": "d", "labels": ["l"], "meta": {"k": 1}}
    made = request("net.pt", name="my/net", **values)
    assert made.name == "my/net"
    assert made.entry == values
    assert {name: getattr(made, name) for name in values} == values


empty_or_not = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from([None, "", "n"]),
        "type": st.sampled_from([None, "", "model"]),
        "desc": st.sampled_from([None, "", "d"]),
        "labels": st.sampled_from([None, [], ["l"]]),
        "meta": st.sampled_from([None, {}, {"k": 1}]),
    },
)


@given(empty_or_not)
def test_one_truthy_value_makes_an_entry_of_all_values_that_are_not_none(
    values: dict[str, Any],
) -> None:
    # dvclive.Live.log_artifact: `if any((type, name, desc, labels, meta))`, then all not None.
    made = request("net.pt", **values)
    wanted = {k: v for k, v in values.items() if k != "name" and v is not None}
    assert made.entry == (wanted if any(values.values()) else None)
    assert made.name == (values.get("name") or "net")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("model.tar.gz", "model-tar"),
        ("epoch=1-step=2.ckpt", "epoch-1-step-2"),
        (".hidden", "hidden"),
        ("data/", "data"),
        ("_a b_.pt", "a-b"),
    ],
)
def test_the_default_name_is_the_stem_made_valid(path: str, name: str) -> None:
    assert request(path, type="model").name == name


def test_some_stems_cannot_become_a_name() -> None:
    with pytest.raises(InvalidArtifactNameError, match=r"Pass name= for '/repo/work/模型\.pt'"):
        request("模型.pt", type="model")
    # Without an entry no name is needed.
    assert request("模型.pt").name == "模型"
    assert request("模型.pt", name="model").name == "model"


def test_values_are_copied_at_the_call() -> None:
    labels, meta = ["a"], {"k": [1]}
    made = request("x", labels=labels, meta=meta)
    labels.append("b")
    meta["k"].append(2)
    assert (made.labels, made.meta) == (["a"], {"k": [1]})
    assert made.entry == {"labels": ["a"], "meta": {"k": [1]}}


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"name": "not valid"}, InvalidArtifactNameError),
        ({"type": 1}, InvalidMetadataError),
        ({"desc": b"d"}, InvalidMetadataError),
        ({"labels": "one"}, InvalidMetadataError),
        ({"meta": {"fn": print}}, InvalidMetadataError),
    ],
)
def test_bad_values_are_refused(values: dict[str, Any], error: type[AsyncLiveError]) -> None:
    with pytest.raises(error):
        request("x", **values)


@pytest.mark.parametrize("flag", [1, "yes", [0]])
def test_flags_become_bools(flag: Any) -> None:
    assert request("x", cache=flag).cache is True
    assert request("x", cache=0).cache is False


# --- Paths ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("x", "/repo/work/x"),
        ("./a//b/.", "/repo/work/a/b"),
        ("data/", "/repo/work/data"),
        ("data///", "/repo/work/data"),
        ("../x", "/repo/x"),
        ("a/../../x", "/repo/x"),
        ("../../../../x", "/x"),
        ("/abs/x", "/abs/x"),
        (".", "/repo/work"),
        ("~/x", "/repo/work/~/x"),
        ("a\nb", "/repo/work/a\nb"),
        (Path("x"), "/repo/work/x"),
        (PurePosixPath("x"), "/repo/work/x"),
        (Named("x"), "/repo/work/x"),
    ],
)
def test_a_path_is_made_absolute_from_root(path: Any, source: str) -> None:
    made = request(path)
    assert made.source == made.path == source
    assert type(made.source) is str
    assert made.given == os.fspath(path)


def test_a_path_that_is_not_utf8_is_accepted_if_no_text_file_names_it() -> None:
    path = os.fsdecode(b"\xff.pt")
    assert request(path, cache=False).source == "/repo/work/\udcff.pt"
    for values in ({}, {"type": "model", "name": "x", "cache": False}):
        with pytest.raises(ArtifactPathError, match=r"'/repo/work/\\udcff\.pt' .* not UTF-8"):
            request(path, **values)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("x", "/real/work/x"),
        ("/link/work/x", "/real/work/x"),
        ("/link/work", "/real/work"),
        ("/real/work/x", "/real/work/x"),
        ("../x", "/real/x"),
        ("/link/workbench", "/link/workbench"),
    ],
)
def test_paths_in_root_are_returned_below_its_real_path(path: str, source: str) -> None:
    made = request(path, root="/link/work", real_root="/real/work", artifacts_dir="/link/work/out")
    assert made.source == source


def test_the_path_of_a_copy_is_below_the_real_path_of_root() -> None:
    made = request(
        "x", root="/link/work", real_root="/real/work", artifacts_dir="/link/work/out", copy=True
    )
    assert made.path == "/real/work/out/x"


@pytest.mark.parametrize("path", [None, 3, b"x", ["x"], object(), Named(b"x"), Named(3)])
def test_a_path_that_is_not_str_is_refused_with_the_message_of_dvclive(path: Any) -> None:
    with pytest.raises(InvalidDataTypeError) as caught:
        request(path)
    assert str(caught.value) == f"Data '{path}' has not supported type {type(path)}"


@pytest.mark.parametrize("path", ["", "a\0b", Path("a\0b"), Named("")])
def test_a_str_that_cannot_be_a_path_is_refused(path: Any) -> None:
    with pytest.raises(ArtifactPathError, match="is not a path"):
        request(path)


def test_a_str_that_the_file_system_cannot_encode_is_refused() -> None:
    with pytest.raises(ArtifactPathError):
        request("\ud800.pt")


# --- Copies ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("copy", "path"),
    [
        (True, f"{ARTIFACTS}/net.pt"),
        ("sub", f"{ARTIFACTS}/sub/net.pt"),
        ("sub/dir/", f"{ARTIFACTS}/sub/dir/net.pt"),
        (Path("sub/dir"), f"{ARTIFACTS}/sub/dir/net.pt"),
        (".", f"{ARTIFACTS}/net.pt"),
        ("", f"{ARTIFACTS}/net.pt"),
        ("..x", f"{ARTIFACTS}/..x/net.pt"),
    ],
)
def test_the_path_of_a_copy_is_below_artifacts(copy: Any, path: str) -> None:
    made = request("models/net.pt", copy=copy)
    assert (made.source, made.path, made.copy) == ("/repo/work/models/net.pt", path, True)


@pytest.mark.parametrize("copy", [False, None, 0])
def test_a_falsy_value_makes_no_copy(copy: Any) -> None:
    made = request("x", copy=copy)
    assert (made.path, made.copy) == (made.source, False)


@pytest.mark.parametrize(
    "copy", ["..", "a/..", "../artifacts2", "/abs", "a/../../b", "a\0b", b"sub", 1, ["sub"], 1.5]
)
def test_a_destination_outside_of_artifacts_is_refused(copy: Any) -> None:
    with pytest.raises(ArtifactPathError, match="cannot be copied") as caught:
        request("x", copy=copy)
    assert repr(copy) in str(caught.value)


@given(
    st.lists(st.sampled_from(["..", ".", "a", "b", ""]), min_size=1, max_size=4).map("/".join),
    st.lists(st.sampled_from(["..", ".", "a", "artifacts", "dvclive", "/"]), min_size=1, max_size=5)
    .map("/".join)
    .filter(bool),
)
def test_a_copy_never_leaves_artifacts_and_never_overlaps_its_source(copy: str, path: str) -> None:
    try:
        made = request(path, copy=copy or True)
    except ArtifactPathError:
        return
    assert is_inside(made.path, ARTIFACTS)
    assert made.path != ARTIFACTS
    assert os.path.basename(made.path) == os.path.basename(made.source)
    assert not is_inside(made.path, made.source)
    assert not is_inside(made.source, made.path)


@pytest.mark.parametrize(
    ("path", "copy"),
    [
        ("dvclive/artifacts/x", True),
        (".", "sub"),
        ("dvclive", True),
        ("/", True),
        ("dvclive/artifacts/x/y/x", True),
        ("dvclive/artifacts/sub/x", "sub"),
    ],
)
def test_a_source_that_equals_contains_or_is_in_its_copy_is_refused(path: str, copy: Any) -> None:
    with pytest.raises(ArtifactPathError, match="cannot be copied"):
        request(path, copy=copy)
