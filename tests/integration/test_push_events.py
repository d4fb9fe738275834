"""Events, progress and counters of pushes."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest
from backends import Isolation, in_both
from directory_remote import DirectoryRemote
from disk import write, write_numbered
from gate import Gate
from test_push import refuse

from asynclive import (
    ArtifactEvent,
    AsyncLive,
    Pushed,
    PushError,
    PushEvent,
    PushFailed,
    PushPolicy,
    PushProgress,
    PushStarted,
)
from asynclive._instrumentation import sampler
from asynclive._remote.directory.object_directory import ObjectDirectory

pytestmark = pytest.mark.anyio


@pytest.fixture
def remote(repo: Path) -> DirectoryRemote:
    write(repo, {"a.pt": "a", "data/b": "bb", "data/c": "ccc"})
    return DirectoryRemote(repo)


def pushes(events: list[ArtifactEvent]) -> list[PushEvent]:
    return [event for event in events if isinstance(event, PushEvent)]


@in_both
async def test_each_push_has_its_events_after_those_of_its_artifact(
    repo: Path, remote: DirectoryRemote, isolation: Isolation
) -> None:
    events: list[ArtifactEvent] = []
    async with AsyncLive(root=repo, push=True, isolation=isolation, on_event=events.append) as live:
        handle = await live.submit("data", name="mydata")
        result = await handle.pushed()
        again = await live.push("mydata")
    stages = [event.stage for event in events if event.call == 1]
    assert stages[-3:] == ["logged", "pushing", "pushed"]
    first, last, started, pushed = [
        event for event in pushes(events) if not isinstance(event, PushProgress)
    ]
    assert isinstance(first, PushStarted)
    assert isinstance(last, Pushed)
    assert isinstance(started, PushStarted)
    assert isinstance(pushed, Pushed)
    assert (first.call, first.name, first.path, first.push) == (1, "mydata", repo / "data", 1)
    assert last.result == result
    assert (started.call, started.path, started.push) == (0, repo, 2)
    assert pushed.result == again
    statistics = live.statistics()
    assert (statistics.pushed, statistics.pushing) == (2, 0)
    assert statistics.objects_pushed == result.objects == 3
    assert statistics.bytes_pushed == result.bytes > 5


async def test_before_commit_the_events_of_the_push_come_before_the_commit(
    repo: Path, remote: DirectoryRemote
) -> None:
    events: list[ArtifactEvent] = []
    policy = PushPolicy(when="before_commit")
    async with AsyncLive(root=repo, push=policy, on_event=events.append) as live:
        await live.log_artifact("a.pt")
    stages = [event.stage for event in events if not isinstance(event, PushProgress)]
    assert stages[-6:] == ["staged", "pushing", "pushed", "committing", "committed", "logged"]


async def test_a_push_that_fails_has_an_event_with_its_error(
    repo: Path, remote: DirectoryRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch)
    events: list[ArtifactEvent] = []
    async with AsyncLive(root=repo, push=True, on_event=events.append) as live:
        handle = await live.submit("a.pt")
        with pytest.raises(PushError) as caught:
            await handle.pushed()
        assert live.statistics().push_failed == 1
    last = events[-1]
    assert isinstance(last, PushFailed)
    assert last.error is caught.value


async def test_samples_show_how_far_a_push_has_come(
    repo: Path, remote: DirectoryRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "INTERVAL", 0.001)
    paths = write_numbered(repo, 20)
    samples: list[PushProgress] = []
    gate, publish, published = Gate(), ObjectDirectory.publish, count()

    def publish_five(self: ObjectDirectory, temp: str, md5: str) -> Any:
        if next(published) >= 5:  # the others wait for a sample
            gate()
        return publish(self, temp, md5)

    monkeypatch.setattr(ObjectDirectory, "publish", publish_five)

    def on_event(event: ArtifactEvent) -> None:
        if isinstance(event, PushProgress):
            samples.append(event)
            gate.open()

    async with AsyncLive(root=repo, on_event=on_event) as live:
        for path in paths:
            await live.log_artifact(path)
        with gate.opened_after():
            result = await live.push()
    assert result.objects == 20
    for sample in samples:
        assert 0 <= sample.objects_done <= sample.objects_total == 20
        assert sample.bytes_done <= sample.bytes_total
    done = [sample.objects_done for sample in samples]
    assert done == sorted(done)
