"""Show progress on a real pseudo-terminal, where no failure of it may cost an artifact."""

# ruff: noqa: T201  # these tests are about printing

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from disk import write_numbered
from gate import locked
from terminal import PseudoTerminal

from asynclive import AsyncLive, LoggedArtifact
from asynclive._progress.bars import Bars
from asynclive._progress.screens import in_notebook
from asynclive._progress.terminal import StreamAboveLines, Terminal

pytestmark = pytest.mark.anyio


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[PseudoTerminal]:
    """Make a terminal that a test can use as stderr."""
    made = PseudoTerminal(80, 24)
    monkeypatch.setenv("TERM", "xterm")
    yield made
    if not made.stream.closed:
        made.close()


@pytest.fixture
def is_stderr(
    terminal: PseudoTerminal, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], None]]:
    """Return a function for the test to call: pytest replaces stderr after this fixture."""
    stderr = sys.stderr
    yield lambda: setattr(sys, "stderr", terminal.stream)
    sys.stderr = stderr


async def log_while_shown(
    repo: Path, terminal: PseudoTerminal, count: int, live: AsyncLive, meanwhile: object = None
) -> None:
    """Log ``count`` artifacts, which wait for DVC's lock until their lines were shown."""
    paths = write_numbered(repo, count)
    with locked(repo) as gate:
        async with live, anyio.create_task_group() as task_group:
            for path in paths:
                task_group.start_soon(live.log_artifact, path)
            await anyio.to_thread.run_sync(
                partial(
                    terminal.wait_until,
                    lambda seen: (
                        any(row.startswith(f"0 of {count} logged") for row in seen.rows)
                        and not any("waiting" in row for row in seen.rows)
                    ),
                )
            )
            if callable(meanwhile):
                meanwhile()
            gate.open()


async def test_a_terminal_shows_each_artifact_and_keeps_one_line(
    repo: Path,
    terminal: PseudoTerminal,
    capfd: pytest.CaptureFixture[str],
    is_stderr: Callable[[], None],
) -> None:
    is_stderr()
    stderr = sys.stderr
    shown: list[list[str]] = []

    def look() -> None:
        shown.append(terminal.seen.rows)
        assert isinstance(sys.stderr, StreamAboveLines)

    await log_while_shown(repo, terminal, 3, AsyncLive(root=repo), look)
    assert sys.stderr is stderr
    (rows,) = shown
    assert rows[0] == ""
    # On trio, tasks start in any order.
    assert sorted(row.split()[0] for row in rows[1:4]) == [f"part-{n}" for n in range(3)]
    assert {row.split()[1] for row in rows[1:4]} == {"staged"}
    assert rows[4].startswith("0 of 3 logged")
    seen = terminal.close()
    (line,) = seen.text
    assert line.startswith("asynclive: 3 logged, 30 B in ")
    assert capfd.readouterr().out == ""


async def test_output_of_the_program_appears_above_the_lines(
    repo: Path,
    terminal: PseudoTerminal,
    monkeypatch: pytest.MonkeyPatch,
    is_stderr: Callable[[], None],
) -> None:
    is_stderr()
    monkeypatch.setattr(sys, "stdout", terminal.stream)

    def chat() -> None:
        print("epoch 1")
        sys.stderr.writelines(["three\n", "lines\n", "at once\n"])
        print("half a line", end="", flush=True)
        terminal.wait_until(
            lambda seen: "half a line" in seen.rows and seen.rows[-1].startswith("0 of 2 logged")
        )
        print(", and the rest")
        for number in range(30):
            print("row", number)
        print("no end", end="")

    await log_while_shown(repo, terminal, 2, AsyncLive(root=repo), chat)
    seen = terminal.close()
    assert seen.text[:-1] == [
        "epoch 1",
        "three",
        "lines",
        "at once",
        "half a line, and the rest",
        *(f"row {number}" for number in range(30)),
        "no end",
    ]
    assert seen.text[-1].startswith("asynclive: 2 logged")


async def test_a_smaller_terminal_shows_fewer_lines(
    repo: Path, terminal: PseudoTerminal, is_stderr: Callable[[], None]
) -> None:
    is_stderr()

    def shrink() -> None:
        terminal.resize(30, 6)
        # Lines that are already shown keep their width.
        terminal.wait_until(lambda seen: any(row.startswith("and ") for row in seen.rows))
        rows = terminal.seen.rows
        assert len(rows) <= 5
        assert max(map(len, rows)) < 30

    await log_while_shown(repo, terminal, 7, AsyncLive(root=repo), shrink)
    assert terminal.close().text[-1].startswith("asynclive: 7 logged")


async def test_a_quick_artifact_shows_only_its_last_line(
    repo: Path, terminal: PseudoTerminal, is_stderr: Callable[[], None]
) -> None:
    is_stderr()
    (path,) = write_numbered(repo, 1)
    async with AsyncLive(root=repo) as live:
        await live.log_artifact(path)
    seen = terminal.close()
    assert len(seen.text) == 1


async def test_a_block_without_calls_writes_nothing(
    repo: Path, terminal: PseudoTerminal, is_stderr: Callable[[], None]
) -> None:
    is_stderr()
    async with AsyncLive(root=repo):
        pass
    terminal.close()
    assert terminal.written == ""


async def test_progress_false_is_silent_on_a_terminal(
    repo: Path, terminal: PseudoTerminal, is_stderr: Callable[[], None]
) -> None:
    is_stderr()
    (path,) = write_numbered(repo, 1)
    async with AsyncLive(root=repo, progress=False) as live:
        await live.log_artifact(path)
    terminal.close()
    assert terminal.written == ""


@pytest.mark.parametrize(("wanted", "lines"), [(None, 0), (False, 0), (True, 1)])
async def test_a_stderr_that_is_no_terminal_gets_lines_only_on_request(
    wanted: bool | None, lines: int, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    (path,) = write_numbered(repo, 1)
    async with AsyncLive(root=repo, progress=wanted) as live:
        await live.log_artifact(path)
    assert len(stderr.getvalue().splitlines()) == lines
    assert "\x1b" not in stderr.getvalue()


async def test_a_dumb_terminal_counts_as_no_terminal(
    repo: Path,
    terminal: PseudoTerminal,
    monkeypatch: pytest.MonkeyPatch,
    is_stderr: Callable[[], None],
) -> None:
    is_stderr()
    monkeypatch.setenv("TERM", "dumb")
    assert AsyncLive(root=repo)._session._display is None


async def log_one(repo: Path, progress: bool | None) -> LoggedArtifact:
    (path,) = write_numbered(repo, 1)
    async with AsyncLive(root=repo, progress=progress) as live:
        return await live.log_artifact(path)


@pytest.mark.parametrize("progress", [None, True])
async def test_a_closed_or_missing_stderr_loses_no_artifact(
    progress: bool | None,
    repo: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed = io.StringIO()
    closed.close()
    for stderr in (closed, None):
        monkeypatch.setattr(sys, "stderr", stderr)
        with caplog.at_level(logging.INFO):
            assert (await log_one(repo, progress)).size == len("part-0.bin")
    assert not [record for record in caplog.records if "rogress" in record.getMessage()]


async def test_a_full_pipe_loses_no_artifact(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    with open(write_fd, "w") as broken:
        monkeypatch.setattr(sys, "stderr", broken)
        assert (await log_one(repo, True)).size == len("part-0.bin")
        monkeypatch.undo()
        with contextlib.suppress(BrokenPipeError):  # the output that its buffer still holds
            broken.close()


async def test_a_terminal_that_hangs_up_loses_no_artifact(
    repo: Path, terminal: PseudoTerminal, is_stderr: Callable[[], None]
) -> None:
    is_stderr()

    def hang_up() -> None:
        terminal.hang_up()

    await log_while_shown(repo, terminal, 2, AsyncLive(root=repo), hang_up)
    assert sys.stderr is terminal.stream
    assert (repo / "part-1.bin.dvc").exists()


async def test_a_stopped_terminal_delays_no_artifact(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = PseudoTerminal(reads=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stopped.stream)
    stopped.fill()
    assert (await log_one(repo, None)).size == len("part-0.bin")
    drawing = [thread for thread in threading.enumerate() if thread.name == "asynclive-progress"]
    stopped.hang_up()
    for thread in drawing:
        await anyio.to_thread.run_sync(thread.join)


@pytest.mark.parametrize("wrong", ["yes", 1, []])
async def test_a_progress_that_is_no_bool_is_refused(wrong: object, repo: Path) -> None:
    with pytest.raises(TypeError, match="progress"):
        AsyncLive(root=repo, progress=wrong)  # type: ignore[arg-type]


async def test_a_child_forked_while_lines_are_drawn_may_print(
    terminal: PseudoTerminal, is_stderr: Callable[[], None]
) -> None:
    is_stderr()
    screen = Terminal(terminal.stream, Bars().ansi)
    screen.begin()
    screen.draw([])
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with screen._lock:
            holding.set()
            assert done.wait(timeout=60)

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait(timeout=60)
    screen._process = -1  # of the child itself
    print("from the child", file=sys.stderr)
    done.set()
    thread.join()
    screen._process = os.getpid()
    screen.erase()
    assert "from the child" in terminal.close().text


async def test_a_stderr_that_the_program_replaced_stays_in_place(
    terminal: PseudoTerminal, monkeypatch: pytest.MonkeyPatch, is_stderr: Callable[[], None]
) -> None:
    is_stderr()
    screen = Terminal(terminal.stream, Bars().ansi)
    screen.begin()
    screen.draw([])
    with contextlib.redirect_stderr(io.StringIO()) as other:
        screen.erase()
        assert sys.stderr is other
    # redirect_stderr has put the stream back, which only passes text on now.
    assert isinstance(sys.stderr, StreamAboveLines)
    assert sys.stderr.isatty()
    print("plain", file=sys.stderr)
    screen.begin()
    screen.erase()
    assert sys.stderr is terminal.stream
    assert terminal.close().text == ["plain"]


_NOTEBOOK = """
import nbclient, nbformat
code = '''
from asynclive import AsyncLive
from asynclive._progress import display
display.FIRST_DRAWING_AFTER_SECONDS = 0
async with AsyncLive() as live:
    for name in ("part-0.bin", "part-1.bin"):
        await live.log_artifact(name)
'''
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
nbclient.NotebookClient(notebook).execute()
for output in notebook.cells[0].outputs:
    print(output.output_type, output.get("data"))
"""


def test_a_notebook_shows_progress_in_the_cell(repo: Path) -> None:
    assert not in_notebook()
    write_numbered(repo, 2)
    command = [sys.executable, "-c", _NOTEBOOK]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert line.startswith("display_data {'text/plain': 'asynclive: 2 logged, 20 B in ")
