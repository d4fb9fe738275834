"""Texts of dvc.yaml that several tests use, and the data that DVC reads from a text."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML

MODEL: dict[str, Any] = {"path": "models/net.pt", "type": "model", "labels": ["a", "b"]}
# The entry of MODEL in the style of DVCLive.
MODEL_LINES = """\
  net:
    path: models/net.pt
    type: model
    labels:
    - a
    - b
"""

# The entry of MODEL in the style of STAGES.
INDENTED = """\
artifacts:
    net:
        path: models/net.pt
        type: model
        labels:
            - a
            - b
"""

# A document without artifacts, with comments, quotes and spacing that a merge must keep.
STAGES = """\
# The pipeline.

vars:
    - params.yaml   # not two spaces

stages:
    train:          # slow
        cmd: "python train.py --name 'x'   --very-long-option {long}"
        deps:
            - 'data'
            -   src
        outs: [a,b,   c]

    eval: &eval
        cmd: >-
            python
            eval.py
    again:
        <<: *eval

plots:
    - a: {{x: 1}}

# The end.
""".format(long="x" * 200)


def load(text: str) -> Any:
    """Return the data that DVC reads from the text."""
    return YAML(typ="safe").load(text)
