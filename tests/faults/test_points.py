"""Each stage of the kill tests names code that exists: a stale key would kill somewhere else."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest
from points import STAGES


@pytest.mark.parametrize("key", STAGES)
def test_each_stage_names_a_module_or_a_function_that_exists(key: str) -> None:
    module, _, function = key.partition(":")
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    if function:
        tree = ast.parse(Path(spec.origin).read_text())
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert function in {node.name for node in ast.walk(tree) if isinstance(node, kinds)}
