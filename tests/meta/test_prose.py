"""Count the habits that make prose hard to read. Their number may only fall.

The text of this project is its comments, docstrings and other strings, its Markdown pages and the
names of its tests. ``python tests/meta/test_prose.py`` prints the places where a habit is left.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES_AT_THE_TOP = ("README", "CHANGELOG", "CONTRIBUTING")

HABITS = {
    # A clause that starts with "who" stands in the place of a noun. The noun is shorter: the
    # caller, the worker thread, another process. A program is "it".
    "words": re.compile(
        r"\b(?:who|whoever|somebody|nobody|meanwhile|beside|(?:is|are)\s+to\s+be|he|his|him)\b",
        re.IGNORECASE,
    ),
    # "What is left" has a name as well: the temp files, the entries.
    "clauses": re.compile(r"\bwhat\s+(?:is|was|has|it|are)\b", re.IGNORECASE),
}

# After you have rewritten some places, set these to the counts that the command above prints.
# Never raise one: if a new text needs such a word, rewrite an old text too.
CEILINGS = {
    "src": {"words": 0, "clauses": 0},
    "docs": {"words": 0, "clauses": 0},
    "tests": {"words": 0, "clauses": 0},
    "perf": {"words": 1, "clauses": 0},
    "examples": {"words": 0, "clauses": 0},
}


def files_of(part: str) -> list[Path]:
    if part == "docs":
        return sorted(
            [*ROOT.glob("docs/**/*.md"), *(ROOT / f"{name}.md" for name in PAGES_AT_THE_TOP)]
        )
    # The words are listed in this file.
    return [path for path in sorted((ROOT / part).rglob("*.py")) if path != Path(__file__)]


def texts_of_page(text: str) -> Iterator[tuple[int, str]]:
    """Yield a Markdown page without its code."""
    lines = []
    fence = ""
    for line in text.splitlines():
        mark = re.match(r"\s*(```+|~~~+)", line)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) else fence
            line = ""
        elif mark:
            fence, line = mark[1], ""
        lines.append(re.sub(r"`[^`]*`", "`", line))
    yield 1, "\n".join(lines)


def texts_of_module(source: str) -> Iterator[tuple[int, str]]:
    """Yield the comments, the strings and the names of the tests of a module, with their lines."""
    yield from _comments(source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "test_" in node.name:
            yield node.lineno, node.name.replace("_", " ")


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield each comment; lines of one comment together, for a habit may span two of them."""
    start, lines = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        row = token.start[0]
        if row != start + len(lines):
            yield start, "\n".join(lines)
            start, lines = row, []
        lines.append(token.string.lstrip("# "))
    yield start, "\n".join(lines)


def places(part: str) -> dict[str, list[str]]:
    """Return ``file:line: words`` for each place in this part of the project, by habit."""
    found: dict[str, list[str]] = {habit: [] for habit in HABITS}
    for path in files_of(part):
        text = path.read_text(encoding="utf-8")
        texts = texts_of_page(text) if path.suffix == ".md" else texts_of_module(text)
        for line, piece in texts:
            for habit, pattern in HABITS.items():
                for match in pattern.finditer(piece):
                    row = line + piece.count("\n", 0, match.start())
                    words = " ".join(match[0].split())
                    found[habit].append(f"{path.relative_to(ROOT)}:{row}: {words}")
    return found


@pytest.mark.parametrize("part", CEILINGS)
def test_prose_has_no_more_old_habits_than_its_ceiling_allows(part: str) -> None:
    for habit, found in places(part).items():
        assert len(found) <= CEILINGS[part][habit], (
            f"{len(found)} places, the ceiling is {CEILINGS[part][habit]}. Give the thing its name "
            "and make it the subject, then lower the ceiling in tests/meta/test_prose.py:\n"
            + "\n".join(found)
        )


def test_a_habit_is_found_in_each_kind_of_text() -> None:
    module = '"""Who\nwaits."""\n# What\n# is left\ndef test_what_has_come(): f"beside {x}"\n'
    found = [
        (line, habit)
        for line, text in texts_of_module(module)
        for habit, pattern in HABITS.items()
        if pattern.search(text)
    ]
    assert sorted(found) == [(1, "words"), (3, "clauses"), (5, "clauses"), (5, "words")]
    page = "Somebody\n```python\nwho = 1\n```\n`his` and\nhim.\n"
    [(_, text)] = texts_of_page(page)
    assert HABITS["words"].findall(text) == ["Somebody", "him"]


if __name__ == "__main__":
    for part_ in CEILINGS:
        for habit_, found_ in places(part_).items():
            print(*found_, f"{part_}, {habit_}: {len(found_)}", sep="\n")  # noqa: T201
