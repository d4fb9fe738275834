"""Writes tables and JSON to stdout, and problems to stderr."""

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

from .option_words import use_option_names
from .terminal_text import escape_unprintable, format_message

UNWRITABLE = 3
"""The exit code if standard output cannot be written to."""
HASH = "MD5"
"""The name of the column of hashes."""

# Length of an abbreviated hash, for a table that is wider than the terminal. Git does the same.
_SHORT_HASH_LENGTH = 8
# On a terminal with fewer columns, a table that is still too wide loses these two columns.
_NARROW_COLUMNS = 72
_OPTIONAL_COLUMNS = frozenset({"Name", "Files"})


class OutputError(click.ClickException):
    """Standard output cannot be written to. If its reader has gone, no message is printed."""

    exit_code = UNWRITABLE

    def __init__(self, error: Exception | None) -> None:
        reason = "it is closed" if error is None else getattr(error, "strerror", None) or str(error)
        super().__init__(f"Cannot write to standard output: {reason}.")
        self.quiet = isinstance(error, BrokenPipeError)


def write(text: str) -> None:
    """Write ``text`` to standard output and flush it.

    Raises:
        OutputError: standard output cannot be written to.
    """
    stream = sys.stdout
    if stream is None:  # stdout was closed before Python started
        raise OutputError(None)
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError) as error:  # ValueError: stdout is closed
        discard_output(sys.stdout)
        raise OutputError(error) from error


def write_json(document: dict[str, Any]) -> None:
    """Write one JSON document. Dates and the numbers inf and nan become strings."""
    write(json.dumps(_to_json(document), indent=2) + "\n")


def write_rows(head: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[str]) -> None:
    """Write a table: styled for a terminal, or in plain columns for a file or a pipe.

    Args:
        head: the names of the columns.
        rows: the texts of the cells; unprintable characters are escaped.
        right: the columns that are aligned to the right.
    """
    rows = [[escape_unprintable(text) for text in row] for row in rows]
    if is_terminal(sys.stdout):
        write(_render_table(head, rows, right))
    else:
        write(
            align_columns(
                [[name.upper() for name in head], *rows], [name in right for name in head]
            )
        )


def align_columns(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Return the rows as lines, with columns two spaces apart and no trailing spaces."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = zip(row, widths, right, strict=True)
        lines.append("  ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in cells).rstrip())
    return "".join(f"{line}\n" for line in lines)


def print_problem(message: str, *, kind: str = "Error") -> None:
    """Print one line to stderr: ``kind`` and ``message``, with options for Python arguments."""
    write_error_line(f"{kind}: {format_message(use_option_names(message))}")


def write_error_line(text: str) -> None:
    """Write ``text`` to stderr. Do nothing if stderr is closed or cannot be written to."""
    try:
        click.echo(text, err=True)
    except ValueError:
        pass
    except OSError:
        discard_output(sys.stderr)


def is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # the stream is closed
        return False


def discard_output(stream: TextIO) -> None:
    """Point the stream at the null device, so that Python's last flush does not fail again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


class StderrHandler(logging.Handler):
    """Prints log records to ``sys.stderr``.

    It looks ``sys.stderr`` up for each record, because a progress bar replaces that stream.
    """

    def emit(self, record: logging.LogRecord) -> None:
        kind = "Warning" if record.levelno >= logging.WARNING else "Note"
        print_problem(record.getMessage(), kind=kind)


@contextlib.contextmanager
def library_logs_to_stderr(level: int) -> Iterator[None]:
    """Print the library's log records of ``level`` and above to stderr within the block."""
    library, handler = logging.getLogger("asynclive"), StderrHandler(level)
    previous_level, previous_propagate = library.level, library.propagate
    library.addHandler(handler)
    library.setLevel(level)
    library.propagate = False
    try:
        yield
    finally:
        library.removeHandler(handler)
        library.setLevel(previous_level)
        library.propagate = previous_propagate


def show_click_error(error: click.ClickException) -> None:
    """Print the error as click does, with unprintable characters escaped.

    The message quotes the command line. Unescaped, it could send escape sequences to the terminal.
    """
    if getattr(error, "quiet", False):
        return
    text = io.StringIO()
    error.show(file=text)
    for line in text.getvalue().splitlines():
        write_error_line(escape_unprintable(line))


def _render_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[str]) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, emoji=False, markup=False)
    head, rows = _fit_to_width(head, rows, console.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for name in head:
        # Names and paths wrap to the next line instead of being cut, so that they can be copied.
        unwrapped = name in right or name == HASH
        justify: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(name, justify=justify, no_wrap=unwrapped, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def _fit_to_width(
    head: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Shorten a table that is wider than the terminal.

    1. Abbreviate the hashes.
    2. If that is not enough on a narrow terminal, drop the name, which the path shows, and the
       number of files.
    """
    if HASH in head and _table_width(head, rows) > width:
        at = head.index(HASH)
        rows = [[*row[:at], row[at][:_SHORT_HASH_LENGTH], *row[at + 1 :]] for row in rows]
    if _table_width(head, rows) > width and width < _NARROW_COLUMNS:
        kept = [index for index, name in enumerate(head) if name not in _OPTIONAL_COLUMNS]
        head = [head[index] for index in kept]
        rows = [[row[index] for index in kept] for row in rows]
    return head, rows


def _table_width(head: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    return sum(2 + max(map(len, column)) for column in zip(head, *rows, strict=True))


def _to_json(value: Any) -> Any:
    """Return ``value`` in types that JSON has."""
    if isinstance(value, dict):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    if isinstance(value, float) and value - value != 0:  # inf, nan
        return str(value)
    if isinstance(value, str):
        # File names need not be UTF-8, but JSON must be.
        return value.encode("utf-8", "backslashreplace").decode()
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)
