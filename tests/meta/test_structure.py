"""The shape of the package: its import rules, its public names, the cost of its import."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import typing
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Literal

import pytest

import asynclive

PACKAGE = Path(asynclive.__file__).parent

# A package imports from the packages in its row, and from itself.
MAY_IMPORT = {
    "__init__": "_api _calls _instrumentation _artifact _errors",
    "_cli": "_api _doctor _instrumentation _artifact _errors",
    "_api": "_isolation _engine _calls _progress _dvclive _instrumentation _workers _artifact "
    "_errors",
    "_isolation": "_engine _calls _dvclive _dvcyaml _dvc _dvc.repository _instrumentation _workers "
    "_artifact _fs _errors",
    "_engine": "_engine.pushing _stage _dvc.repository _calls _dvcyaml _dvclive _workspace "
    "_cache _instrumentation _workers _artifact _fs _errors",
    "_engine.pushing": "_remote _dvc.remote _calls _instrumentation _workers _artifact _fs _errors",
    "_dvc.remote": "_remote _dvc _index _dvcyaml _cache _workers _artifact _fs _errors",
    "_doctor": "_remote _dvc.remote _dvc.repository _workspace _artifact _fs _errors",
    "_stage": "_ingest _workspace _cache _instrumentation _workers _artifact _fs",
    "_dvc.repository": "_dvc.tracking _dvc.remote _dvc _index _workspace _cache _artifact "
    "_fs _errors",
    "_calls": "_instrumentation _artifact _errors",
    "_dvc.tracking": "_dvc _index _workspace _cache _workers _artifact _fs _errors",
    "_ingest": "_cache _workers _artifact _fs _errors",
    "_remote": "_instrumentation _workspace _cache _workers _artifact _fs _errors",
    "_progress": "_instrumentation",
    "_cache": "_artifact _fs",
    "_dvc": "_artifact _errors",
    "_dvclive": "_dvcyaml _artifact _fs _errors",
    "_instrumentation": "_artifact",
    "_workspace": "_artifact _fs _errors",
    "_artifact": "_fs _errors",
    "_dvcyaml": "_workers _fs _errors",
    "_index": "_fs _errors",
    "_errors": "",
    "_fs": "",
    "_workers": "_errors",
}
# These packages block. They run in worker threads and need no event loop.
BLOCKING = {"_fs", "_artifact", "_cache", "_workspace", "_index"}
# Packages of others that only some of ours may import.
DVC = {"dvc", "dvc_data", "dvc_objects", "scmrepo", "dulwich", "zc"}
ONLY_IN = {
    **{name: {"_dvc", "_dvc.tracking", "_dvc.repository", "_dvc.remote"} for name in DVC},
    "dvclive": set[str](),
    "click": {"_cli"},
    **{name: {"_remote"} for name in ("obstore", "aiobotocore", "botocore")},
    "rich": {"_cli", "_progress"},
    **{name: set(MAY_IMPORT) - BLOCKING for name in ("anyio", "asyncio")},
}


def name_of(path: Path) -> str:
    parts = ["asynclive", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts).removesuffix(".__init__")


FILES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def package_of(module: str) -> str:
    """Return the row of ``MAY_IMPORT`` that a module belongs to."""
    if module in ("asynclive", "asynclive.__main__"):
        return {"asynclive": "__init__"}.get(module, "_cli")
    parts = module.split(".")[1:]
    inner = ".".join(parts[:2])
    return inner if inner in MAY_IMPORT else parts[0]


def imports_of(module: str) -> tuple[set[str], set[str]]:
    """Return our modules, and the top-level names of others, that a file imports anywhere."""
    path = FILES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    ours: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            others |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*start, *filter(None, [node.module])])
            if base.split(".")[0] != "asynclive":
                others.add(base.split(".")[0])
                continue
            names = {f"{base}.{alias.name}" for alias in node.names}
            ours |= {name if name in FILES else base for name in names}
    return ours, others


@pytest.mark.parametrize("module", sorted(FILES))
def test_a_module_imports_only_from_the_packages_in_its_row(module: str) -> None:
    ours, others = imports_of(module)
    package = package_of(module)
    assert {package_of(name) for name in ours} <= {package, *MAY_IMPORT[package].split()}
    assert not [name for name in others if package not in ONLY_IN.get(name, {package})]


def test_no_imports_of_files_make_a_circle() -> None:
    TopologicalSorter({module: imports_of(module)[0] for module in FILES}).prepare()


@pytest.mark.parametrize(
    "package", sorted({path.parent for path in PACKAGE.rglob("*/__init__.py")})
)
def test_the_init_of_a_package_is_a_map_of_its_files(package: Path) -> None:
    body = ast.parse((package / "__init__.py").read_text()).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)
    assert isinstance(body[0].value, ast.Constant)
    named = re.findall(r"^- ``(\w+)``: ", str(body[0].value.value), re.MULTILINE)
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    files = {path.stem for path in package.glob("*.py")} - {"__init__"}
    assert sorted(named) == sorted(files | packages)
    assert len(files) <= 10


def test_no_two_files_have_the_same_name() -> None:
    names = [path.name for path in PACKAGE.rglob("*.py") if path.stem != "__init__"]
    assert sorted(names) == sorted(set(names))


def test_importing_asynclive_imports_only_what_every_user_needs() -> None:
    code = "import sys, asynclive; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    # Large, and needed only by an entered object, by the command line, or not at all.
    large = {"dvc", "dvc_data", "dvc_objects", "ruamel", "dvclive", "trio", "rich", "opentelemetry"}
    large |= {"aiofiles", "sqlite3", "click"}
    assert not large & {name.split(".")[0] for name in imported}
    # Entering a block imports these, in a thread; the command line has a program of its own.
    late = {"_cli", "_dvc", "_dvc.repository", "_dvc.tracking", "_stage", "_isolation"}
    assert not [name for name in imported & FILES.keys() if package_of(name) in late]
    assert "asynclive._dvcyaml.dvcyaml_file" not in imported


def test_the_public_names_are_the_listed_ones() -> None:
    public = {
        name
        for name, value in vars(asynclive).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert public == set(asynclive.__all__)
    assert sorted(asynclive.__all__) == asynclive.__all__


def test_every_public_name_has_a_docstring() -> None:
    for name in asynclive.__all__:
        value = getattr(asynclive, name)
        # The name of a Literal cannot have one that is found.
        assert typing.get_origin(value) is Literal or inspect.getdoc(value), name


def test_the_signature_of_log_artifact_is_dvclives() -> None:
    from dvclive import Live

    ours = inspect.signature(asynclive.AsyncLive.log_artifact).parameters
    theirs = inspect.signature(Live.log_artifact).parameters
    # Its own, by keyword alone, come after.
    both = [name for name, one in ours.items() if one.kind is not one.KEYWORD_ONLY]
    assert both == list(theirs) == list(ours)[: len(both)]
    assert [ours[name].default for name in both] == [one.default for one in theirs.values()]
