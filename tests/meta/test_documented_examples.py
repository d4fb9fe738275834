"""Every example of the README, of the pages and of the public docstrings runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from directory_remote import DirectoryRemote
from examples import Examples, blocks, in_docstring

import asynclive

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _public() -> Iterator[tuple[str, object]]:
    """The public names, and the public members of classes."""
    for name in asynclive.__all__:
        thing = getattr(asynclive, name)
        yield name, thing
        if isinstance(thing, type):
            for member, value in vars(thing).items():
                if not member.startswith("_"):
                    yield f"{name}.{member}", value


FOUND = [
    pytest.param(code, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, code in enumerate(blocks(page.read_text(), "python"), 1)
]
IN_DOCSTRINGS = [
    pytest.param(code, id=name) for name, thing in _public() for code in in_docstring(thing)
]
# What a fragment in a docstring takes for granted.
IMPORTS = """\
import asyncio
from pathlib import Path
from asynclive import *
def save(text, path):
    Path(path).write_text(text)
"""


@pytest.fixture(scope="module")
def examples(machine: Path) -> Iterator[Examples]:
    with pytest.MonkeyPatch.context() as patch:
        scripts = str(Path(sys.executable).parent)
        patch.setenv("PATH", os.pathsep.join((scripts, os.environ["PATH"])))
        patch.delenv("ASYNCLIVE_ISOLATION")  # as a reader has it
        process = Examples()
    yield process
    process.stop()


@pytest.fixture
def inputs(repo: Path) -> Path:
    """A repository with what the examples log and do not make."""
    (repo / "model.pt").write_bytes(b"model")
    (repo / "shards").mkdir()
    for number in range(5):
        (repo / "shards" / f"part-{number}.bin").write_bytes(bytes([number]) * 1000)
    (repo / "data").mkdir()
    (repo / "data" / "a.txt").write_text("a")
    DirectoryRemote(repo, "storage")
    DirectoryRemote(repo, "backup", default=False)
    return repo


@pytest.mark.parametrize("code", FOUND)
def test_an_example_of_a_page_runs(code: str, inputs: Path, examples: Examples) -> None:
    (inputs / "example.py").write_text(code)

    ran = examples.run(inputs / "example.py")

    assert not ran.error, ran.error
    assert list(inputs.rglob("*.dvc")), "it logs something"
    assert not ran.status


@pytest.mark.parametrize("code", IN_DOCSTRINGS)
def test_an_example_of_a_docstring_runs(code: str, inputs: Path, examples: Examples) -> None:
    (inputs / "example.py").write_text(IMPORTS + code)

    ran = examples.run(inputs / "example.py")

    assert not ran.error, ran.error


def test_there_are_examples_of_both_kinds() -> None:
    assert len(FOUND) > 5
    assert IN_DOCSTRINGS


def test_the_command_line_page_has_the_help_that_the_commands_print() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text()
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    said = [block for block in blocks(page, "text") if block.startswith("$ asynclive ")]
    assert said
    for block in said:
        command, _, help_text = block.partition("\n")
        done = subprocess.run(
            [sys.executable, "-m", *command.split()[1:]],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        assert help_text == done.stdout, "run: python docs/tools/command_help.py"


def test_every_public_name_is_in_the_reference() -> None:
    pages = [page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md")]
    described = re.findall(r"^::: asynclive\.(\w+)$", "\n".join(pages), re.MULTILINE)
    assert sorted(described) == asynclive.__all__


def test_the_tree_of_errors_has_all_of_them() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    (tree,) = (block for block in blocks(page, "text") if block.startswith("AsyncLiveError"))
    drawn = re.findall(r"^[│├└─ ]*(\w+)", tree, re.MULTILINE)
    assert sorted(drawn) == [name for name in asynclive.__all__ if name.endswith("Error")]
