"""Record entries in ``dvc.yaml``, wherever it lies, and keep the rest of the file."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from case import Again, Case, Do, Log
from parity import in_a_worker_too
from trees import MODEL, both, files, links, replace

pytestmark = [pytest.mark.anyio, in_a_worker_too]

FILES = files({"a.bin": "a", "b.bin": "b", "data/x": "x"})

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


PIPELINE = both(MODEL, files({"dvc.yaml": HAND_WRITTEN, "defaults.yaml": "lr: 1\n"}))


def written(text: str | bytes) -> Callable[[Path], object]:
    return both(MODEL, files({"dvc.yaml": text}))


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
            MODEL,
            files({"shared/dvc.yaml": "artifacts:\n  old:\n    path: old.bin\n"}),
            links({"dvc.yaml": "shared/dvc.yaml"}),
        ),
        (Log("model.bin", type="model"),),
    ),
    Case(
        "a dvc.yaml edited in between",
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
        "an artifact next to a dvc.yaml in a subdirectory",
        files({"sub/m.bin": "m"}),
        (Log("sub/m.bin", type="model"),),
        live={"dvcyaml": "sub/dvc.yaml"},
    ),
    Case(
        "an existing dvc.yaml in a subdirectory",
        both(MODEL, files({"sub/dvc.yaml": "artifacts:\n  old:\n    path: old.bin\n"})),
        (Log("model.bin", type="model"),),
        live={"dvcyaml": "sub/dvc.yaml"},
    ),
    Case(
        "dvcyaml=None next to an existing dvc.yaml",
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


@pytest.mark.parametrize("case", [*LAYOUT, *PLACES], ids=lambda case: case.name)
async def test_dvcyaml_is_left_as_dvclive_leaves_it(
    case: Case, same: Callable[[Case], Awaitable[None]]
) -> None:
    await same(case)
