"""Refuse metadata that YAML cannot hold, before any I/O."""

from __future__ import annotations

import datetime
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from backends import on_asyncio
from differences import differs_from_dvclive
from disk import refused, tree, write
from ruamel.yaml import YAML

from asynclive import AsyncLive, InvalidMetadataError

pytestmark = [
    pytest.mark.anyio,
    on_asyncio,
    pytest.mark.usefixtures("nothing_left_behind"),
    differs_from_dvclive("fails while it writes, and leaves an empty dvc.yaml"),
]

DVC_YAML = "# mine\nartifacts:\n  old: # keep\n    path: old.pt\n"


class Float64(float):
    """A subclass of float, like numpy's float64."""


# One of each argument. tests/unit/_artifact/test_metadata.py has each type and each place.
REFUSED = [
    ({"meta": {"a": [0, {"b": {1, 2}}]}}, "meta['a'][1]['b']"),
    ({"labels": ["resnet", 50]}, "labels[1]"),
    ({"desc": 7}, "desc"),
    ({"type": ["model"]}, "type"),
]


def _id(value: object) -> str:
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(("values", "field"), REFUSED, ids=_id)
async def test_a_value_that_yaml_cannot_hold_is_refused_before_any_io(
    repo: Path, values: dict[str, Any], field: str
) -> None:
    write(repo, {"model.pt": "weights", "dvc.yaml": DVC_YAML})
    async with AsyncLive(root=repo) as live:
        with refused(repo, InvalidMetadataError) as caught:
            # The first step of the coroutine: it has waited for no thread yet.
            live.log_artifact("missing.pt", name="old", copy=True, **values).send(None)
        assert caught.value.field == field
        assert str(caught.value).startswith(field)


async def test_a_bad_value_is_refused_without_a_dvc_yaml_too(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo, dvcyaml=False) as live:
        with refused(repo, InvalidMetadataError):
            await live.log_artifact("model.pt", meta={"a": {1}})


async def test_after_a_refusal_the_same_artifact_can_be_logged(repo: Path) -> None:
    write(repo, {"model.pt": "weights", "dvc.yaml": DVC_YAML})
    async with AsyncLive(root=repo) as live:
        with refused(repo, InvalidMetadataError):
            await live.log_artifact("model.pt", meta={"tags": {"a"}})
        await live.log_artifact("model.pt", meta={"tags": ["a"]})
    assert tree(repo)["dvc.yaml"] == (
        DVC_YAML + "  model:\n    path: model.pt\n    meta:\n      tags:\n      - a\n"
    )


HELD: dict[str, Any] = {
    "text": "a: b # not a comment",
    "lines": "one\ntwo\n",
    "odd": "\x00\x07\x85\u2028\ufeff\U0001f600 é",
    "like other types": ["no", "1", "1.0", "null", "~", "2020-01-01", "0o7", "", " ", "[a]"],
    "numbers": [0, -1, 2**70, 0.1, 1e300, float("inf"), -0.0],
    "not a number": float("nan"),
    "none": None,
    "bools": [True, False],
    "bytes": b"\x00\xff",
    "dates": [datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3, 4, 5)],
    "empty": [[], {}],
    "nested": {"a": [{"b": {"c": [1]}}]},
    "1": "a key like a number",
    2: "a key that is one",
    "[x]: ": "a key like YAML",
}


async def test_values_are_read_back_equal(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact("model.pt", desc="a: 'b'\n- c", meta=HELD)
    entry = YAML(typ="safe").load(tree(repo)["dvc.yaml"])["artifacts"]["model"]
    assert repr(entry) == repr({"path": "model.pt", "desc": "a: 'b'\n- c", "meta": HELD})
    assert repr(logged.meta) == repr(HELD)


async def test_subclasses_are_written_and_returned_as_the_plain_types(repo: Path) -> None:
    class Text(str):
        __slots__ = ()

    write(repo, {"model.pt": "weights"})
    shared = [1]
    meta = OrderedDict(f=Float64(0.5), s=Text("a"), t=(1, 2), x=shared, y=shared)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact("model.pt", type=Text("model"), meta=meta)
    expected = {"f": 0.5, "s": "a", "t": [1, 2], "x": [1], "y": [1]}
    assert logged.meta == expected
    assert type(logged.meta) is dict
    assert [type(value) for value in logged.meta.values()] == [float, str, list, list, list]
    text = tree(repo)["dvc.yaml"]
    assert YAML(typ="safe").load(text)["artifacts"]["model"]["meta"] == expected
    assert not set("&*!") & set(text)
