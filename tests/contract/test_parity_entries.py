"""Record entries in ``dvc.yaml``, and their values."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from case import Again, Case, Log
from parity import in_a_worker_too
from trees import MODEL, files

pytestmark = [pytest.mark.anyio, in_a_worker_too]

FILES = files({"a.bin": "a", "b.bin": "b", "data/x": "x"})

VALUES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a type": {"type": "model"},
    "another type": {"type": "dataset"},
    "a name": {"name": "mymodel"},
    "a name in a group": {"name": "group/my-model_2"},
    "a desc": {"desc": "Fine-tuned Resnet50"},
    "labels": {"labels": ["resnet", "imagenet"]},
    "meta": {"meta": {"loss": 0.25}},
    "everything": {
        "type": "model",
        "name": "mymodel",
        "desc": "Fine-tuned",
        "labels": ["resnet"],
        "meta": {"a": 1},
    },
    "only empty labels": {"labels": []},
    "only empty meta": {"meta": {}},
    "only an empty desc": {"desc": ""},
    "only an empty type": {"type": ""},
    "only an empty name": {"name": ""},
    "nothing but empty values": {"type": "", "name": "", "desc": "", "labels": [], "meta": {}},
    "empty values next to a type": {"type": "model", "desc": "", "labels": [], "meta": {}},
    "an empty type next to a name": {"type": "", "name": "mymodel"},
    "an empty name next to a type": {"type": "model", "name": ""},
    "a desc of several lines": {"desc": "one\n  two: 2  # three\n\nfour\n"},
    "a long desc": {"desc": "many words " * 40},
    "unicode": {"desc": "Größe 模型 😀", "labels": ["é", "файл"], "meta": {"ключ": "значение"}},
    "strings that look like something else": {
        "desc": "yes",
        "labels": ["no", "null", "~", "1", "1.5", "0x10", "1e3", "2024-01-01", "", " ", "*a", "&b"],
        "meta": {"1": "true", "on": "off", "=": "<<", "time": "12:30:45"},
    },
    "meta of every kind": {
        "meta": {
            "int": 7,
            "big": 10**30,
            "float": 1.5e-10,
            "inf": float("inf"),
            "nan": float("nan"),
            "true": True,
            "none": None,
            "list": [1, [2, {"three": 3}], []],
            "dict": {"a": {"b": {"c": None}}, "empty": {}},
            3: "an int key",
        }
    },
    "meta with dates": {
        "meta": {
            "date": datetime.date(2024, 2, 29),
            "time": datetime.datetime(2024, 2, 29, 12, 30, 15),
        }
    },
}

ENTRIES = [
    *(
        Case(f"annotated with {what}", MODEL, (Log("model.bin", **values),))
        for what, values in VALUES.items()
    ),
    *(
        Case(f"default name of {path!r}", files({path: "w"}), (Log(path, type="model"),))
        for path in ("model", "out/deep/my-model_1.pt", "UPPER.BIN", "7.onnx", "data.d/x")
    ),
    Case("default name of a directory", FILES, (Log("data", type="dataset"),)),
    Case("default name of a directory with a slash", FILES, (Log("data/", type="dataset"),)),
    Case(
        "the same name again replaces the whole entry",
        MODEL,
        (
            Log("model.bin", type="model", desc="old", meta={"a": 1}),
            Log("model.bin", type="model", labels=["new"]),
        ),
    ),
    Case(
        "the same name for another path",
        FILES,
        (Log("a.bin", name="best", desc="first"), Log("b.bin", name="best", type="model")),
    ),
    Case(
        "the same stem in two directories",
        files({"x/m.bin": "x", "y/m.bin": "y"}),
        (Log("x/m.bin", type="model"), Log("y/m.bin", type="model")),
    ),
    Case(
        "the same name in a later block replaces the whole entry",
        MODEL,
        (
            Log("model.bin", type="model", desc="old", meta={"a": 1}),
            Again(),
            Log("model.bin", type="model"),
        ),
    ),
    Case(
        "not annotated in a later block keeps the entry",
        MODEL,
        (Log("model.bin", type="model", desc="old"), Again(), Log("model.bin")),
    ),
    Case(
        "a path under a second name in a later block",
        MODEL,
        (Log("model.bin", name="one"), Again(), Log("model.bin", name="two")),
    ),
    Case(
        "several entries",
        FILES,
        (Log("a.bin", type="model"), Log("b.bin"), Log("data", type="dataset", desc="d")),
    ),
]


@pytest.mark.parametrize("case", ENTRIES, ids=lambda case: case.name)
async def test_an_entry_has_the_values_that_dvclive_records(
    case: Case, same: Callable[[Case], Awaitable[None]]
) -> None:
    await same(case)
