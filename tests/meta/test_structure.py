"""The shape of the package: what is public, what importing it costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from typing import Literal

import asynclive


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
    late = {"aiofiles", "sqlite3"}
    assert not late.intersection(done.stdout.split())


def test_importing_asynclive_imports_nothing_of_the_command_line() -> None:
    code = (
        "import sys, asynclive\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('click', 'rich') "
        "or m.startswith('asynclive._cli.main')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
