"""The lines that show the artifacts of one moment, on screens of any size."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.cells import cell_len

from asynclive import (
    ArtifactCancelled,
    ArtifactEvent,
    ArtifactFailed,
    ArtifactLogged,
    ArtifactNotFoundError,
    ArtifactQueued,
    ArtifactStaged,
    ArtifactStaging,
    LoggedArtifact,
    PushError,
    PushResult,
)
from asynclive._instrumentation.events import (
    ArtifactCommitting,
    Pushed,
    PushFailed,
    PushProgress,
    PushStarted,
)
from asynclive._progress.artifact_tally import RowSelection, Tally
from asynclive._progress.bars import Bars
from asynclive._progress.display import format_summary
from asynclive._progress.screens import Log, plain_text

MIB = 2**20


class Story:
    """Publishes events to a tally, and draws it."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.bars = Bars(colors=False)
        self.now = 0.0

    def head(self, call: int, name: str = "") -> tuple[float, int, str, Path]:
        return self.now, call, name or f"a{call}", Path(f"/repo/a{call}")

    def take(self, *events: ArtifactEvent) -> None:
        for event in events:
            self.tally.update(event)

    def queue(self, call: int, name: str = "") -> None:
        self.take(ArtifactQueued(*self.head(call, name)))

    def stage(self, call: int, done: int, total: int) -> None:
        self.take(ArtifactStaging(*self.head(call), done, 0, total, 1))

    def log(self, call: int, total: int) -> None:
        logged = LoggedArtifact(
            f"a{call}", Path("/a"), None, None, None, None, "0" * 32, total, 1, None
        )
        self.take(
            ArtifactStaged(*self.head(call), total, 1), ArtifactLogged(*self.head(call), logged)
        )

    def push(self, number: int, call: int, done: int, total: int) -> None:
        head = self.push_head(number, call)
        self.take(PushStarted(*head), PushProgress(*head, 0, done, 1, total))

    def push_head(self, number: int, call: int) -> tuple[float, int, str, Path, int]:
        """Return the first fields of an event; call 0: the push belongs to no call."""
        return *(self.head(call) if call else self.head(0, "2 targets")), number

    def pushed(self, number: int, call: int, size: int) -> None:
        result = PushResult("storage", 1, size, 0, 0, "etag", "obstore", 1.0)
        self.take(Pushed(*self.push_head(number, call), result))

    def lines(self, columns: int = 100, lines: int = 20) -> list[str]:
        self.now += 1.0
        return [plain_text(line) for line in self.bars.lines(self.tally, columns, lines, self.now)]


def test_one_artifact_is_one_line() -> None:
    story = Story()
    assert story.lines() == []
    story.queue(1, "model")
    (line,) = story.lines()
    assert line.split()[:2] == ["model", "waiting"]
    story.stage(1, 0, 200 * MIB)
    story.lines()
    story.stage(1, 50 * MIB, 200 * MIB)
    (line,) = story.lines()
    name, stage, drawn, done, rate, unit, left = line.replace("/200 MiB", "/200").split()
    assert (name, stage, done, left) == ("model", "staging", "50/200", "0:03")
    assert f"{rate} {unit}" == "50.0 MiB/s"
    assert drawn.startswith("━━━━━━━━━━╺━")
    story.log(1, 200 * MIB)
    assert story.lines() == []


def test_several_artifacts_have_a_line_for_the_sum() -> None:
    story = Story()
    for call in (1, 2, 3, 4):
        story.queue(call)
    story.stage(1, 5 * MIB, 10 * MIB)
    story.stage(2, 0, 30 * MIB)
    story.log(3, 20 * MIB)
    story.take(ArtifactFailed(*story.head(4), ArtifactNotFoundError("a4")))
    first, second, last = story.lines()
    assert first.split()[:2] == ["a1", "staging"]
    assert second.split()[:2] == ["a2", "waiting"]
    assert last.startswith("1 of 4 logged, 1 failed  ")
    assert "25.0/60.0 MiB" in last


def test_of_hundreds_the_busiest_few_and_the_sum_are_shown() -> None:
    story = Story()
    for call in range(1, 301):
        story.queue(call)
        story.stage(call, 0, MIB)
    story.stage(200, 1, MIB)
    story.stage(250, 1, MIB)
    lines = story.lines(lines=8)
    assert len(lines) == 8
    names = [line.split()[0] for line in lines[:-2]]
    assert names == ["a1", "a2", "a3", "a4", "a200", "a250"]
    assert lines[-2] == "and 294 waiting"
    assert lines[-1].startswith("0 of 300 logged")
    # Rows that are working stay where they are.
    for call in range(1, 9):
        story.stage(call, 1, MIB)
    assert [line.split()[0] for line in story.lines(lines=8)[:-2]] == names


@pytest.mark.parametrize("lines", [1, 2, 3, 9])
def test_no_line_is_wider_than_the_screen_and_there_are_not_more_lines(lines: int) -> None:
    story = Story()
    for call, name in enumerate(["模型-权重-权重-权重", "x" * 300, "short", *"abcdefgh"], 1):
        story.queue(call, name)
    story.stage(1, 5 * MIB, 10 * MIB)
    story.lines(80, lines)
    story.stage(1, 6 * MIB, 10 * MIB)
    for columns in (*range(1, 60), 80, 100, 119, 200):
        shown = story.lines(columns, lines)
        assert 0 < len(shown) <= lines
        assert all(cell_len(line) <= max(1, columns - 1) for line in shown)


def test_a_name_sends_no_escape_sequences_to_the_terminal() -> None:
    story = Story()
    story.queue(1, "evil\x1b[31m\x07\r\n\u202e\udcff[bold]")
    (line,) = story.bars.ansi(story.bars.lines(story.tally, 100, 5, 0))
    assert line.startswith("evil\ufffd[31m\ufffd\ufffd\ufffd\ufffd\ufffd[bold]")
    assert "<b>" not in story.bars.html(story.bars.lines(story.tally, 100, 5, 0))


def test_a_new_burst_counts_from_zero_but_the_summary_counts_all() -> None:
    story = Story()
    assert format_summary(story.tally) == ""
    for call in (1, 2):
        story.queue(call)
        story.log(call, 3 * MIB)
    story.queue(3)
    story.queue(4)
    assert story.lines()[-1].startswith("0 of 2 logged")
    assert format_summary(story.tally).startswith("asynclive: 2 logged, 2 unfinished, 6.0 MiB in ")
    story.take(ArtifactCancelled(*story.head(3)), ArtifactCancelled(*story.head(4)))
    assert format_summary(story.tally).startswith("asynclive: 2 logged, 2 cancelled, 6.0 MiB in ")


def test_an_event_of_an_ended_or_unknown_call_is_no_error() -> None:
    story = Story()
    story.log(1, 5)
    story.take(ArtifactCancelled(*story.head(2)))
    assert story.lines() == []


def test_waiting_artifacts_are_selected_in_the_order_of_the_calls() -> None:
    story = Story()
    for call in range(1, 6):
        story.queue(call)
    selected = RowSelection().select(list(story.tally.rows.values()), 2)
    assert [row.call for row in selected] == [1, 2]
    assert RowSelection().select(selected, 0) == []


def test_the_bar_of_an_artifact_goes_on_with_its_push() -> None:
    story = Story()
    for call in (1, 2):
        story.queue(call)
        story.stage(call, 10 * MIB, 10 * MIB)
    story.push(1, 1, 5 * MIB, 10 * MIB)
    first, second, last = story.lines()
    assert [first.split()[:2], second.split()[:2]] == [["a1", "pushing"], ["a2", "staging"]]
    assert "5.0/10.0 MiB" in first
    assert last.startswith("0 of 2 logged")
    # The push goes on after the call has ended.
    story.log(1, 10 * MIB)
    first, second, last = story.lines()
    assert [first.split()[:2], second.split()[:2]] == [["a1", "pushing"], ["a2", "staging"]]
    assert last.startswith("1 of 2 logged")
    # The push has ended before the commit: the artifact is shown again.
    story.pushed(1, 1, 10 * MIB)
    story.push(2, 2, 0, 10 * MIB)
    story.pushed(2, 2, 10 * MIB)
    story.take(ArtifactCommitting(*story.head(2)))
    first, log_sum, push_sum = story.lines()
    assert first.split()[:2] == ["a2", "committing"]
    assert log_sum.startswith("1 of 2 logged")
    assert push_sum.startswith("2 of 2 pushed")
    assert "20.0/20.0 MiB" in push_sum


def test_an_explicit_push_has_a_bar_of_its_own() -> None:
    story = Story()
    story.queue(1)
    story.take(PushStarted(*story.push_head(1, 0)))
    first, second = story.lines()
    assert first.split()[:2] == ["a1", "waiting"]
    assert second.split()[:3] == ["2", "targets", "pushing"]
    assert "MiB" not in second
    story.push(1, 0, 3 * MIB, 30 * MIB)
    assert "3.0/30.0 MiB" in story.lines()[1]


def test_of_pushes_alone_the_summary_counts_the_bytes_sent() -> None:
    story = Story()
    for number in (1, 2, 3):
        story.push(number, 0, 0, MIB)
    story.pushed(1, 0, MIB)
    story.take(PushFailed(*story.push_head(2, 0), PushError("storage", "it is gone.")))
    assert story.lines()[-1].startswith("1 of 3 pushed, 1 failed")
    assert format_summary(story.tally).startswith(
        "asynclive: 1 pushed, 1 not pushed, 1 unfinished, 1.0 MiB in "
    )


def test_pushes_of_unknown_size_are_not_shown_as_done() -> None:
    story = Story()
    for number in (1, 2):
        story.take(PushStarted(*story.push_head(number, 0)))
    assert "0/0" not in story.lines()[-1]


def test_the_summary_of_a_failed_push_alone_has_no_bytes() -> None:
    story = Story()
    story.push(1, 0, 0, MIB)
    story.take(PushFailed(*story.push_head(1, 0), PushError("storage", "it is gone.")))
    assert format_summary(story.tally).startswith("asynclive: 1 not pushed, in 0.")


def test_a_log_file_gets_the_sums_of_artifacts_and_of_pushes() -> None:
    story = Story()
    for call in (1, 2):
        story.queue(call)
        story.push(call, call, MIB, 2 * MIB)
    stream = io.StringIO()
    screen = Log(stream)
    screen.draw(story.bars.lines(story.tally, *screen.size(), 0))
    log_sum, push_sum = stream.getvalue().splitlines()
    assert log_sum.startswith("0 of 2 logged")
    assert push_sum.startswith("0 of 2 pushed")


def test_a_log_file_gets_one_line_for_an_artifact_and_the_push_of_another() -> None:
    story = Story()
    story.queue(2)
    story.push(1, 1, MIB, 2 * MIB)
    assert story.lines(lines=1) == ["and 1 waiting, 1 pushing"]
