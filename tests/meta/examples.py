"""The examples of the pages and of the docstrings, and a process that runs them.

Importing DVC takes longer than most examples, so one process runs one after the other, each in a
repository of its own. Run as a script, this module is that process: on each line of stdin the
paths of a program and of its directory as JSON, on stdout the traceback and the output of it.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_IN_DOCSTRING = re.compile(r"^Example::\n\n((?:(?:    .*)?\n)+)", re.MULTILINE)


def blocks(markdown: str, language: str) -> list[str]:
    """The fenced blocks of this language, in order."""
    return [dedent(code) for _, name, code in _BLOCK.findall(markdown) if name == language]


def in_docstring(thing: object) -> list[str]:
    """What stands below ``Example::``."""
    text = f"{inspect.getdoc(thing) or ''}\n"
    return [dedent(code) for code in _IN_DOCSTRING.findall(text)]


@dataclass(frozen=True)
class Ran:
    """What an example came to."""

    error: str
    """The traceback, or nothing."""
    printed: str
    status: Any
    """What ``dvc status`` says afterwards: nothing, where all is up to date."""


class Examples:
    """The process, seen from the tests."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, program: Path) -> Ran:
        """Run a program in its directory."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{json.dumps(str(program))}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the process ended: {self._process.wait()}"
        return Ran(*json.loads(answer))

    def stop(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def main() -> None:
    """The process itself."""
    answers = os.fdopen(os.dup(1), "w")
    # What an example does is to bring no warning about; what DVC does is DVC's.
    warnings.filterwarnings("error", module="__main__|asynclive")
    os.dup2(2, 1)  # output that bypasses sys.stdout does not mix with the answers
    for line in sys.stdin:
        program = Path(json.loads(line))
        os.chdir(program.parent)
        printed = io.StringIO()
        error = ""
        status = None
        try:
            with contextlib.redirect_stdout(printed):
                _run(program)
            status = _status()
        except BaseException:
            error = traceback.format_exc()
        answers.write(f"{json.dumps([error, printed.getvalue(), status])}\n")
        answers.flush()


def _run(program: Path) -> None:
    code = compile(program.read_text(), str(program), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(program)}
    if code.co_flags & inspect.CO_COROUTINE:
        # Part of an async function, as `python -m asyncio` takes it.
        asyncio.run(eval(code, names))
    else:
        exec(code, names)


def _status() -> Any:
    from dvc.repo import Repo

    with Repo() as repo:
        return repo.status()


if __name__ == "__main__":
    main()
