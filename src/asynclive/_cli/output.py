"""What the command line prints: rows as a table, or as JSON; and what is wrong, to stderr."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TextIO

import click

from .option_words import in_options
from .terminal_text import message_shown, shown

UNWRITABLE = 3
"""The exit code where standard output could not be written to."""
HASH = "MD5"
"""The column of hashes."""

# Of the hash, where there is no room for all of it; as Git does.
_HASH_LETTERS = 8
# What a terminal narrower than so many letters is spared, if need be.
_NARROW = 72
_DROPPED = frozenset({"Name", "Files"})


class OutputError(click.ClickException):
    """Standard output cannot be written to. A reader that has gone is told nothing."""

    exit_code = UNWRITABLE

    def __init__(self, error: Exception | None) -> None:
        reason = "it is closed" if error is None else getattr(error, "strerror", None) or str(error)
        super().__init__(f"Cannot write to standard output: {reason}.")
        self.quiet = isinstance(error, BrokenPipeError)


def write(text: str) -> None:
    """Write to standard output, now.

    Raises:
        OutputError: that is not possible.
    """
    stream = sys.stdout
    if stream is None:  # it was closed before Python started
        raise OutputError(None)
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError) as error:  # ValueError: it is closed
        drop_output(sys.stdout)
        raise OutputError(error) from error


def write_json(document: dict[str, Any]) -> None:
    """Write one JSON document. Numbers that JSON does not have, and dates, are strings."""
    write(json.dumps(_plain(document), indent=2) + "\n")


def write_rows(head: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[str]) -> None:
    """Write a table: for a person at a terminal, or in plain columns for a file.

    Args:
        head: the names of the columns.
        rows: their texts; may hold anything.
        right: the columns that are flush right.
    """
    rows = [[shown(text) for text in row] for row in rows]
    if is_terminal(sys.stdout):
        write(_drawn(head, rows, right))
    else:
        write(aligned([[name.upper() for name in head], *rows], [name in right for name in head]))


def aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Columns two spaces apart, and no space at the end of a line."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = zip(row, widths, right, strict=True)
        lines.append("  ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in cells).rstrip())
    return "".join(f"{line}\n" for line in lines)


def complain(message: str, *, kind: str = "Error") -> None:
    """Say in one line on stderr what is wrong."""
    error_line(f"{kind}: {message_shown(in_options(message))}")


def error_line(text: str) -> None:
    # There may be nobody to tell: it was closed, or cannot be written to.
    try:
        click.echo(text, err=True)
    except ValueError:
        pass
    except OSError:
        drop_output(sys.stderr)


def is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False


def drop_output(stream: TextIO) -> None:
    """Have Python write what is left of it nowhere, so that it does not fail again at the end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


class LogHandler(logging.Handler):
    """Says on stderr what the library has to say, as it is at that moment: a progress bar may
    have put another in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = "Warning" if record.levelno >= logging.WARNING else "Note"
        complain(record.getMessage(), kind=kind)


@contextlib.contextmanager
def library_heard(level: int) -> Iterator[None]:
    """Say on stderr what the library logs."""
    library, handler = logging.getLogger("asynclive"), LogHandler(level)
    before, propagated = library.level, library.propagate
    library.addHandler(handler)
    library.setLevel(level)
    library.propagate = False
    try:
        yield
    finally:
        library.removeHandler(handler)
        library.setLevel(before)
        library.propagate = propagated


def show(error: click.ClickException) -> None:
    """As click does, and what the caller wrote is not obeyed by his terminal."""
    if getattr(error, "quiet", False):
        return
    text = io.StringIO()
    error.show(file=text)
    for line in text.getvalue().splitlines():
        error_line(shown(line))


def _drawn(head: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[str]) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, emoji=False, markup=False)
    head, rows = _fitted(head, rows, console.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for name in head:
        # A name is read, and copied, whole: it goes on in the next line.
        whole = name in right or name == HASH
        justify: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(name, justify=justify, no_wrap=whole, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def _fitted(
    head: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """What a terminal has room for: a hash is known by how it begins, a path says the name."""
    if _width(head, rows) > width:
        at = head.index(HASH)
        rows = [[*row[:at], row[at][:_HASH_LETTERS], *row[at + 1 :]] for row in rows]
    if _width(head, rows) > width and width < _NARROW:
        kept = [index for index, name in enumerate(head) if name not in _DROPPED]
        head = [head[index] for index in kept]
        rows = [[row[index] for index in kept] for row in rows]
    return head, rows


def _width(head: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    return sum(2 + max(map(len, column)) for column in zip(head, *rows, strict=True))


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value - value != 0:  # inf, nan
        return str(value)
    if isinstance(value, str):
        # What the system calls a file need not be UTF-8.
        return value.encode("utf-8", "backslashreplace").decode()
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)
