"""The shape of the package: who may import whom, what is public, what importing it costs."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import typing
from pathlib import Path
from typing import Literal

import pytest

import asynclive

PACKAGE = Path(asynclive.__file__).parent
MODULES = {path.stem: path for path in PACKAGE.glob("*.py")}
# The one package that imports DVC. Above it, it is one name.
REPO = {path.stem: path for path in (PACKAGE / "_repo").glob("*.py")}

# Data moves forward; a stage takes the last one's record and knows nothing of the next.
# The facade composes them.
RECORDS = {"_errors", "_artifact", "_metadata"}
ALLOWED = {
    "__init__": {"_live", "_artifact", "_drain", "_errors", "_handle", "_statistics"}
    | {"_blocking", "_events", "_hub"},
    "_errors": set(),
    "_metadata": {"_errors"},
    "_artifact": {"_errors", "_metadata", "_known_file", "_place"},
    "_claims": RECORDS,
    "_handle": RECORDS | {"_sampler", "_tracing"},
    "_isolation": set(),
    "_pipeline": RECORDS,
    "_pending": RECORDS | {"_handle"},
    "_unheard": RECORDS | {"_handle"},
    "_drain": RECORDS | {"_handle"},
    "_statistics": set(),
    "_events": RECORDS,
    "_hub": {"_events"},
    "_sampler": set(),
    "_tracing": set(),
    "_observer": {"_events", "_handle", "_hub", "_sampler", "_tracing"},
    "_tally": {"_events"},
    "_units": set(),
    "_bars": {"_screen", "_tally", "_units"},
    "_screen": set(),
    "_progress": {"_bars", "_events", "_screen", "_tally", "_units"},
    "_durable": set(),
    "_space": set(),
    "_smallfile": {"_durable"},
    "_store": {"_durable", "_smallfile"},
    "_held": {"_artifact"},
    "_newer": set(),
    "_place": {"_durable", "_held", "_newer", "_store"},
    "_moved": RECORDS | {"_durable", "_newer", "_place", "_store"},
    "_session": {"_durable", "_moved", "_place", "_store"},
    "_precedence": set(),
    "_workers": {"_precedence", "_priority"},
    "_trash": {"_place", "_store", "_workers"},
    "_files": {"_durable"},
    "_dvc_import": set(),
    "_plan": RECORDS,
    "_walk": RECORDS | {"_plan"},
    "_link": {"_plan", "_store"},
    "_known_file": {"_store"},
    "_known": RECORDS | {"_known_file", "_plan", "_store"},
    "_syncing": RECORDS | {"_known", "_plan", "_store"},
    "_commit_sync": RECORDS | {"_durable"},
    "_large": RECORDS | {"_durable", "_link", "_plan", "_priority", "_space", "_store", "_workers"},
    "_unchanged": RECORDS | {"_known", "_link", "_plan", "_store"},
    "_snapshot": RECORDS | {"_newer", "_plan"},
    "_filestage": RECORDS | {"_known", "_link", "_newer", "_place", "_plan", "_store"},
    "_batchworker": {"_priority", "_processes", "_smallfile"},
    "_processes": RECORDS | {"_batchworker", "_filestage", "_plan", "_smallfile", "_store"},
    "_largestage": {"_filestage", "_large", "_plan", "_sampler", "_snapshot", "_space", "_store"}
    | {"_workers"},
    "_stagejob": RECORDS
    | {"_filestage", "_largestage", "_link", "_newer", "_place", "_plan", "_processes", "_sampler"}
    | {"_snapshot", "_space", "_store", "_workers"},
    "_stage": RECORDS
    | {
        "_filestage",
        "_known",
        "_link",
        "_moved",
        "_plan",
        "_processes",
        "_sampler",
        "_space",
        "_stagejob",
    }
    | {"_statistics", "_store", "_syncing", "_trash", "_unchanged", "_walk", "_workers"},
    "_outputs": RECORDS,
    "_listing": set(),
    "_watch": {"_listing"},
    "_inotify": {"_watch"},
    "_index": {"_artifact", "_listing", "_outputs", "_watch"},
    "_gitignore": {"_held", "_store"},
    "_dvcfile": {"_dvctext"},
    "_declarations": {"_artifact", "_dvcfile", "_gitignore"},
    "_gitindex": set(),
    "_appended": set(),
    "_dvctext": set(),
    "_databases": set(),
    "_lockuse": set(),
    "_commit": {"_errors"},
    "_lines": set(),
    "_plain": set(),
    "_style": {"_lines", "_plain"},
    "_regular": {"_lines", "_style"},
    "_document": {"_lines", "_regular", "_style"},
    "_merge": {"_document", "_lines", "_style"},
    "_beside": {"_files", "_style"},
    "_dvcyaml_errors": {"_document", "_errors", "_files"},
    "_dvcyaml": {"_beside", "_dvcyaml_errors", "_errors", "_files", "_merge", "_style"},
    "_turn": set(),
    "_experiment": RECORDS | {"_beside", "_turn"},
    "_dvclive": RECORDS | {"_experiment", "_style", "_turn"},
    "_record": RECORDS | {"_dvcyaml", "_store"},
    "_repo": RECORDS
    | {"_appended", "_commit_sync", "_databases", "_declarations", "_durable", "_dvc_import"}
    | {"_dvcfile", "_dvctext", "_gitignore", "_gitindex", "_held", "_index", "_inotify"}
    | {"_lockuse", "_outputs", "_place", "_session", "_store", "_watch", "_workers"}
    | {"_turn", "_walk"},
    "_channel": set(),
    "_priority": set(),
    "_messages": {"_errors"},
    "_worker_process": {"_store"},
    "_remote_beside": {"_beside", "_experiment", "_messages", "_repo", "_style", "_turn"},
    "_remote": {"_channel", "_errors", "_handle", "_messages", "_statistics", "_worker_process"}
    | {"_experiment", "_remote_beside"},
    # In a process of its own, where it is the first.
    "_remote_worker": {"_channel", "_errors", "_handle", "_live", "_messages", "_priority"}
    | {"_events", "_remote_beside", "_sampler"},
    "_loopthread": {"_errors"},
    # Of _live only the type: it makes the AsyncLive that is handed on.
    "_blocking": {"_artifact", "_drain", "_handle", "_live", "_loopthread", "_statistics"},
    # The command line: nothing of the library knows of it.
    "_shown": set(),
    "_disks": set(),
    "_dvclock": set(),
    "_doctor": {"_disks", "_dvclock", "_errors", "_repo", "_session"},
    "_cli_words": set(),
    "_cli_output": {"_cli_words", "_shown"},
    "_cli_values": {"_errors", "_metadata"},
    "_cli_session": {"_artifact", "_errors", "_events", "_live"},
    "_cli_log": {
        *("_cli_output", "_cli_session", "_cli_values", "_cli_words"),
        *("_errors", "_shown"),
    },
    "_cli_doctor": {"_cli_output", "_disks", "_doctor", "_shown"},
    "_cli": {"_cli_doctor", "_cli_log", "_cli_output"},
    "__main__": {"_cli"},
}
ALLOWED_IN_REPO = {
    "errors": set(),
    "facts": {"errors"},
    "lock": set(),
    "state": {"errors"},
    "opening": {"errors"},
    "workspace": set(),
    "experiment": {"errors"},
    "dvcfiles": set(),
    "outputs": {"errors", "state"},
    "commit": {"dvcfiles", "errors", "lock", "outputs"},
    "repository": set(REPO) - {"__init__", "facts", "repository"},
    "__init__": {"errors", "facts", "lock", "repository"},
}
COMMAND_LINE = {name for name in MODULES if name.startswith("_cli")} | {"__main__"}
ALLOWED["_live"] = {"_engine", "_remote", "_drain", "_errors", "_handle", "_hub"} | RECORDS
ALLOWED["_live"] |= {"_observer", "_pending", "_progress", "_sampler", "_statistics", "_unheard"}
ALLOWED["_live"] |= {"_isolation", "_blocking", "_dvclive", "_experiment", "_workers"}
# The way through, and all that works on it.
ALLOWED["_engine"] = (
    set(MODULES)
    - COMMAND_LINE
    - ALLOWED["_live"]
    - {"__init__", "_live", "_doctor", "_remote_worker"}
    | RECORDS
    | {"_experiment", "_handle", "_pending", "_repo", "_statistics", "_workers"}
)


def imports_of(path: Path, level: int = 1) -> tuple[set[str], set[str]]:
    """Modules of ours, and top-level names of others', imported anywhere in a file.

    Args:
        level: how many dots there are before a module of ours.
    """
    own: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == level:
            own |= {node.module} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            continue
        elif isinstance(node, ast.ImportFrom) and node.module:
            others.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            others |= {alias.name.split(".")[0] for alias in node.names}
    return own, others


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_comes_before_it(module: str) -> None:
    own, _ = imports_of(MODULES[module])
    assert own <= ALLOWED[module]


@pytest.mark.parametrize("module", sorted(REPO))
def test_a_module_of_the_repository_imports_only_what_comes_before_it(module: str) -> None:
    beside, _ = imports_of(REPO[module])
    assert beside <= ALLOWED_IN_REPO[module]
    above, _ = imports_of(REPO[module], level=2)
    assert above <= ALLOWED["_repo"]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_module_outside_of_the_repository_package_imports_dvc(module: str) -> None:
    _, others = imports_of(MODULES[module])
    assert not others & {"dvc", "dvc_data", "dvc_objects", "dvclive", "scmrepo", "zc", "dulwich"}


def test_importing_asynclive_imports_none_of_what_is_large() -> None:
    code = (
        "import sys, asynclive\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in "
        "('dvc', 'dvc_data', 'dvc_objects', 'ruamel', 'dvclive', 'trio', 'rich', 'opentelemetry')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_asynclive_leaves_what_only_an_entered_object_needs() -> None:
    code = "import sys, asynclive; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    late = {"aiofiles", "sqlite3", "asynclive._dvcyaml", "asynclive._repo", "asynclive._stage"}
    assert not late.intersection(done.stdout.split())


def test_importing_asynclive_imports_nothing_of_the_command_line() -> None:
    code = (
        "import sys, asynclive\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('click', 'rich') "
        "or m.startswith('asynclive._cli')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", sorted(set(MODULES) - COMMAND_LINE))
def test_no_module_but_the_command_lines_imports_click(module: str) -> None:
    _, others = imports_of(MODULES[module])
    assert "click" not in others


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
