"""Entries in ``dvc.yaml``: which there are, what they hold, and what stays around them."""

from __future__ import annotations

import datetime
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from parity import Again, Case, Do, Log
from trees import both, files, links, replace

pytestmark = pytest.mark.anyio

FILE = files({"model.bin": "weights\n"})
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
        Case(f"annotated with {what}", FILE, (Log("model.bin", **values),))
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
        FILE,
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
        FILE,
        (
            Log("model.bin", type="model", desc="old", meta={"a": 1}),
            Again(),
            Log("model.bin", type="model"),
        ),
    ),
    Case(
        "not annotated in a later block keeps the entry",
        FILE,
        (Log("model.bin", type="model", desc="old"), Again(), Log("model.bin")),
    ),
    Case(
        "a path under a second name in a later block",
        FILE,
        (Log("model.bin", name="one"), Again(), Log("model.bin", name="two")),
    ),
    Case(
        "several entries",
        FILES,
        (Log("a.bin", type="model"), Log("b.bin"), Log("data", type="dataset", desc="d")),
    ),
]

HAND_WRITTEN = """\
# The pipeline of this project.
vars:
  - defaults.yaml  # shared

stages:
  # Trains for hours.
  train:
    cmd: >-
      python train.py
      --epochs 3
    deps: [src/train.py, 'data']   # inputs
    outs:
    - weights.bin:
        cache: true

artifacts:
  # Not ours.
  hand-made:
    path:   hand.bin
    type: "model"  # quoted
    labels: [a,   b]
  old:   # to be replaced
    path: elsewhere.bin
    desc: goes away

metrics:
- scores.json   # by hand
plots:
- losses:
    x: step
"""

KEPT_COMMENTS = (
    "# The pipeline of this project.",
    "# shared",
    "# Trains for hours.",
    "# inputs",
    "# Not ours.",
    "# quoted",
    "# by hand",
    "path:   hand.bin",
    "labels: [a,   b]",
    "    cmd: >-\n      python train.py\n      --epochs 3\n",
)


def comments_are_kept(repo: Path) -> None:
    text = (repo / "dvc.yaml").read_text()
    for comment in KEPT_COMMENTS:
        assert comment in text, text
    # Order is kept too.
    keys = [line for line in text.splitlines() if line and line[0] not in " #-"]
    assert keys == ["vars:", "stages:", "artifacts:", "metrics:", "plots:"]


def is_untouched(repo: Path) -> None:
    assert (repo / "dvc.yaml").read_text() == HAND_WRITTEN


PIPELINE = both(FILE, files({"dvc.yaml": HAND_WRITTEN, "defaults.yaml": "lr: 1\n"}))


def written(text: str | bytes) -> Callable[[Path], object]:
    return both(FILE, files({"dvc.yaml": text}))


LAYOUT = [
    Case(
        "a hand-written dvc.yaml gets an entry",
        PIPELINE,
        (Log("model.bin", type="model"),),
        dirty=True,
        check=comments_are_kept,
    ),
    Case(
        "a hand-written dvc.yaml gets an entry replaced",
        PIPELINE,
        (Log("model.bin", name="old", type="model"), Again(), Log("model.bin", name="other")),
        dirty=True,
        check=comments_are_kept,
    ),
    Case(
        "a hand-written dvc.yaml without annotation",
        PIPELINE,
        (Log("model.bin"),),
        dirty=True,
        check=lambda repo: (
            (repo / "dvc.yaml").read_text() == HAND_WRITTEN or pytest.fail("touched")
        ),
    ),
    Case("an empty dvc.yaml", written(""), (Log("model.bin", type="model"),)),
    Case("a dvc.yaml of comments", written("# nothing yet\n"), (Log("model.bin", type="model"),)),
    Case(
        "a dvc.yaml that does not end in a newline",
        written("artifacts:\n  old:\n    path: old.bin"),
        (Log("model.bin", type="model"),),
    ),
    Case(
        "a dvc.yaml with Windows line ends",
        written(b"artifacts:\r\n  old:\r\n    path: old.bin\r\n    desc: d\r\n"),
        (Log("model.bin", type="model"),),
    ),
    Case(
        "a dvc.yaml with a document start",
        written("---\nartifacts:\n  old:\n    path: old.bin\n"),
        (Log("model.bin", type="model"),),
    ),
    Case(
        "a dvc.yaml in flow style",
        written("{artifacts: {old: {path: old.bin}}, metrics: [scores.json]}\n"),
        (Log("model.bin", type="model"),),
    ),
    Case(
        "a dvc.yaml with anchors",
        written(
            "artifacts:\n  one: &base\n    path: one.bin\n    labels: &l [a, b]\n"
            "  two:\n    path: two.bin\n    labels: *l\n"
        ),
        (Log("model.bin", name="one", type="model"),),
    ),
    Case(
        "a dvc.yaml with strings that look like something else",
        written(
            'artifacts:\n  old:\n    path: old.bin\n    labels: ["1", "yes", \'null\', "0x1"]\n'
        ),
        (Log("model.bin", type="model"),),
    ),
    Case(
        "a dvc.yaml that only its owner may read",
        both(
            written("artifacts:\n  old:\n    path: old.bin\n"),
            lambda repo: (repo / "dvc.yaml").chmod(0o600),
        ),
        (Log("model.bin", type="model"),),
    ),
    Case(
        "a dvc.yaml that is a symlink",
        both(
            FILE,
            files({"shared/dvc.yaml": "artifacts:\n  old:\n    path: old.bin\n"}),
            links({"dvc.yaml": "shared/dvc.yaml"}),
        ),
        (Log("model.bin", type="model"),),
    ),
    Case(
        "a dvc.yaml edited meanwhile",
        FILES,
        (
            Log("a.bin", type="model"),
            Do(replace({"dvc.yaml": "artifacts:\n  hand:\n    path: h.bin\n"})),
            Log("b.bin", type="model"),
            Again(),
            Log("a.bin", type="model"),
        ),
    ),
]

PLACES = [
    *(
        Case(
            f"dvcyaml={dvcyaml!r}",
            both(FILES, files({"sub/keep": "k"})),
            (Log("a.bin", type="model"), Log("data", type="dataset", copy=True)),
            live={"dvcyaml": dvcyaml},
        )
        for dvcyaml in (
            "dvc.yaml",
            "./dvc.yaml",
            "sub/dvc.yaml",
            "sub/new/dvc.yaml",
            Path("sub/dvc.yaml"),
            None,
            False,
            True,
        )
    ),
    Case(
        "an artifact beside a dvc.yaml in a subdirectory",
        files({"sub/m.bin": "m"}),
        (Log("sub/m.bin", type="model"),),
        live={"dvcyaml": "sub/dvc.yaml"},
    ),
    Case(
        "an existing dvc.yaml in a subdirectory",
        both(FILE, files({"sub/dvc.yaml": "artifacts:\n  old:\n    path: old.bin\n"})),
        (Log("model.bin", type="model"),),
        live={"dvcyaml": "sub/dvc.yaml"},
    ),
    Case(
        "dvcyaml=None beside an existing dvc.yaml",
        written("artifacts:\n  old:\n    path: old.bin\n"),
        (Log("model.bin", type="model"),),
        live={"dvcyaml": None},
    ),
    Case(
        "an entry through a symlinked directory, uncached",
        both(files({"real/m.bin": "m"}), links({"link": "real"})),
        (Log(os.path.join("link", "m.bin"), type="model", cache=False),),
    ),
]


@pytest.mark.parametrize("case", [*ENTRIES, *LAYOUT, *PLACES], ids=lambda case: case.name)
async def test_recorded(case: Case, same: Callable[[Case], Awaitable[None]]) -> None:
    await same(case)
