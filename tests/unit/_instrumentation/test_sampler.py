"""The sampler calls back for changed counts, not too often, only while there is a listener."""

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


class Samples:
    """The counts of one artifact at each sample."""

    def __init__(self, progress: StagingProgress) -> None:
        self.progress = progress
        self.counts: list[tuple[int, int]] = []
        self.first = anyio.Event()

    def __call__(self) -> None:
        self.counts.append((self.progress.bytes_done, self.progress.files_done))
        self.first.set()


async def test_changed_counts_are_sampled_at_most_ten_times_a_second() -> None:
    sampler = Sampler(lambda: False, lambda run: None)
    progress, unchanged, file = StagingProgress(100, 2), StagingProgress(5, 1), File()
    samples, no_samples = Samples(progress), Samples(unchanged)
    begun = anyio.current_time()
    sampler.begin(progress, samples)
    sampler.begin(unchanged, no_samples)
    with progress.in_work(file):
        progress.count(1, 10)
        after = anyio.current_time()
        sampler._sample(begun + INTERVAL / 2)
        assert samples.counts == []
        sampler._sample(after + INTERVAL)
        assert samples.counts == [(10, 1)]
        sampler._sample(after + 2 * INTERVAL)  # no change
        file.done_bytes = 5
        sampler._sample(after + 3 * INTERVAL)
        file.done_bytes = 6
        sampler._sample(after + 3.5 * INTERVAL)
        sampler._sample(after + 4 * INTERVAL)
        assert samples.counts == [(10, 1), (15, 1), (16, 1)]
        sampler.end(progress)
        file.done_bytes = 7
        sampler._sample(after + 5 * INTERVAL)
    assert len(samples.counts) == 3
    assert no_samples.counts == []


async def test_the_timer_runs_only_while_there_is_a_listener_and_an_artifact_is_staged() -> None:
    has_listener = False
    started: list[Callable[[], Coroutine[Any, Any, None]]] = []
    sampler = Sampler(lambda: has_listener, started.append)
    progress = StagingProgress(100, 1)
    samples = Samples(progress)
    sampler.wake()
    sampler.begin(progress, samples)
    assert started == []
    progress.count(0, 1)
    has_listener = True
    sampler.wake()
    sampler.wake()
    assert len(started) == 1
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(started[0])
        await samples.first.wait()
        assert samples.counts == [(1, 0)]
        sampler.end(progress)
    # The timer has ended. The next artifact starts it again.
    sampler.begin(StagingProgress(1, 1), samples)
    assert len(started) == 2
