"""The sampler: told what has changed, not too often, only while somebody listens."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from asynclive._instrumentation.sampler import INTERVAL, Sampler
from asynclive._instrumentation.staging_progress import StagingProgress

pytestmark = pytest.mark.anyio


class File:
    done_bytes = 0


class Told:
    """How far the staging was when it was told."""

    def __init__(self, progress: StagingProgress) -> None:
        self.progress = progress
        self.reached: list[tuple[int, int]] = []
        self.any = anyio.Event()

    def __call__(self) -> None:
        self.reached.append((self.progress.bytes_done, self.progress.files_done))
        self.any.set()


async def test_it_tells_what_changed_and_at_most_ten_times_a_second() -> None:
    sampler = Sampler(lambda: False, lambda run: None)
    progress, still, file = StagingProgress(100, 2), StagingProgress(5, 1), File()
    told, nothing = Told(progress), Told(still)
    begun = anyio.current_time()
    sampler.begin(progress, told)
    sampler.begin(still, nothing)
    with progress.in_work(file):
        progress.count(1, 10)
        after = anyio.current_time()
        sampler._sample(begun + INTERVAL / 2)
        assert told.reached == []
        sampler._sample(after + INTERVAL)
        assert told.reached == [(10, 1)]
        sampler._sample(after + 2 * INTERVAL)  # nothing new
        file.done_bytes = 5
        sampler._sample(after + 3 * INTERVAL)
        file.done_bytes = 6
        sampler._sample(after + 3.5 * INTERVAL)
        sampler._sample(after + 4 * INTERVAL)
        assert told.reached == [(10, 1), (15, 1), (16, 1)]
        sampler.end(progress)
        file.done_bytes = 7
        sampler._sample(after + 5 * INTERVAL)
    assert len(told.reached) == 3
    assert nothing.reached == []


async def test_a_file_that_is_done_counts_once() -> None:
    progress, file = StagingProgress(100, 1), File()
    with progress.in_work(file):
        file.done_bytes = 99
        assert (progress.bytes_done, progress.files_done, progress.moves) == (99, 0, True)
    progress.count(1, 100)
    assert (progress.bytes_done, progress.files_done, progress.moves) == (100, 1, False)


async def test_it_runs_only_while_somebody_listens_and_something_is_staged() -> None:
    listened = False
    started: list[Callable[[], Coroutine[Any, Any, None]]] = []
    sampler = Sampler(lambda: listened, started.append)
    progress = StagingProgress(100, 1)
    told = Told(progress)
    sampler.wake()
    sampler.begin(progress, told)
    assert started == []
    progress.count(0, 1)
    listened = True
    sampler.wake()
    sampler.wake()
    assert len(started) == 1
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(started[0])
        await told.any.wait()
        assert told.reached == [(1, 0)]
        sampler.end(progress)
    # It has ended, and is started again for the next.
    sampler.begin(StagingProgress(1, 1), told)
    assert len(started) == 2
