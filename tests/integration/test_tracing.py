"""Record spans with OpenTelemetry's in-memory exporter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from directory_remote import DirectoryRemote
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from asynclive import ArtifactNotFoundError, AsyncLive, PushPolicy, RemoteNotFoundError

pytestmark = pytest.mark.anyio

STAGES = ["asynclive.queued", "asynclive.staging", "asynclive.staged", "asynclive.committing"]


class Breaks(SpanProcessor):
    """A span processor that fails on request."""

    broken = False

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        if self.broken:
            raise ValueError("no more spans")

    def on_end(self, span: ReadableSpan) -> None:
        if self.broken:
            raise ValueError("no more spans")


_exporter = InMemorySpanExporter()
_breaks = Breaks()


@pytest.fixture(scope="module", autouse=True)
def provider() -> None:
    """Set the provider of this process, which can be set once."""
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(_exporter))
    made.add_span_processor(_breaks)
    trace.set_tracer_provider(made)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    _exporter.clear()
    yield _exporter
    _breaks.broken = False


def of_call(
    spans: InMemorySpanExporter, name: str = "asynclive.log_artifact"
) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """Return the span of the only call, and the spans of its stages in order."""
    done = spans.get_finished_spans()
    (call,) = (span for span in done if span.name == name)
    assert call.context is not None
    stages = [span for span in done if span.parent and span.parent.span_id == call.context.span_id]
    return call, sorted(stages, key=lambda span: span.start_time or 0)


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_a_call_is_a_span_with_a_child_for_each_stage(
    repo: Path, spans: InMemorySpanExporter, isolation: Literal["thread", "process"]
) -> None:
    (repo / "model.pt").write_bytes(b"weights")
    tracer = trace.get_tracer("test")
    async with AsyncLive(root=repo, isolation=isolation) as live:
        with tracer.start_as_current_span("step") as step:
            logged = await live.log_artifact("model.pt", type="model", name="net")
    call, stages = of_call(spans)
    assert call.parent is not None
    assert call.parent.span_id == step.get_span_context().span_id
    assert [span.name for span in stages] == STAGES
    assert call.attributes is not None
    assert dict(call.attributes) == {
        "asynclive.call": 1,
        "asynclive.name": "net",
        "asynclive.path": str(repo / "model.pt"),
        "asynclive.type": "model",
        "asynclive.copy": False,
        "asynclive.cache": True,
        "asynclive.bytes": 7,
        "asynclive.files": 1,
        "asynclive.md5": logged.md5,
        "asynclive.outcome": "logged",
    }
    staging = stages[1].attributes
    assert staging is not None
    assert dict(staging) == {"asynclive.bytes": 7, "asynclive.files": 1}
    assert call.status.status_code is StatusCode.UNSET
    for span, following in pairwise(stages):
        assert span.end_time is not None
        assert following.start_time is not None
        assert span.end_time <= following.start_time


async def test_each_caller_has_its_own_trace(repo: Path, spans: InMemorySpanExporter) -> None:
    tracer = trace.get_tracer("test")
    async with AsyncLive(root=repo) as live:

        async def log(name: str) -> None:
            (repo / name).write_bytes(name.encode())
            with tracer.start_as_current_span(name):
                handle = await live.submit(name)
            await handle

        async with anyio.create_task_group() as task_group:
            for number in range(5):
                task_group.start_soon(log, f"{number}.bin")
    done = spans.get_finished_spans()
    callers = {span.context.span_id: span.name for span in done if span.context}
    calls = [span for span in done if span.name == "asynclive.submit"]
    assert len(calls) == 5
    for span in calls:
        assert span.parent is not None
        assert span.attributes is not None
        assert str(span.attributes["asynclive.path"]).endswith(callers[span.parent.span_id])


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_an_error_is_recorded_in_its_span(
    repo: Path, spans: InMemorySpanExporter, isolation: Literal["thread", "process"]
) -> None:
    async with AsyncLive(root=repo, isolation=isolation) as live:
        with pytest.raises(ArtifactNotFoundError):
            await live.log_artifact("missing-\udcff.bin", cache=False)
    call, stages = of_call(spans)
    assert [span.name for span in stages] == STAGES[:1]
    assert call.status.status_code is stages[0].status.status_code is StatusCode.ERROR
    (recorded,) = call.events
    assert recorded.name == "exception"
    assert recorded.attributes is not None
    assert str(recorded.attributes["exception.type"]).endswith("ArtifactNotFoundError")
    assert call.attributes is not None
    assert call.attributes["asynclive.outcome"] == "failed"
    str(call.attributes["asynclive.path"]).encode()  # exporters do the same


async def test_a_cancelled_call_ends_its_spans_and_is_no_error(
    repo: Path, spans: InMemorySpanExporter
) -> None:
    (repo / "model.pt").write_bytes(b"weights")
    async with AsyncLive(root=repo) as live:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await live.log_artifact("model.pt")
    call, stages = of_call(spans)
    assert call.attributes is not None
    assert call.attributes["asynclive.outcome"] == "cancelled"
    assert call.status.status_code is StatusCode.UNSET
    assert all(span.end_time is not None for span in stages)


async def test_an_exporter_that_fails_loses_no_artifact(
    repo: Path, spans: InMemorySpanExporter
) -> None:
    (repo / "model.pt").write_bytes(b"weights")
    async with AsyncLive(root=repo) as live:
        _breaks.broken = True
        await live.log_artifact("model.pt")
        _breaks.broken = False
        await live.log_artifact("model.pt")
        assert live.statistics().logged == 2


def test_opentelemetry_is_not_imported_unless_the_program_did(repo: Path) -> None:
    (repo / "model.pt").write_bytes(b"weights")
    code = (
        "import anyio, sys, asynclive\n"
        "async def main():\n"
        "    async with asynclive.AsyncLive() as live:\n"
        "        await live.log_artifact('model.pt')\n"
        "anyio.run(main)\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'rich'))])\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("isolation", ["thread", "process"])
@pytest.mark.parametrize("when", ["after_commit", "before_commit"])
async def test_a_push_is_a_span_in_the_trace_of_its_call(
    repo: Path,
    spans: InMemorySpanExporter,
    isolation: Literal["thread", "process"],
    when: Literal["after_commit", "before_commit"],
) -> None:
    (repo / "model.pt").write_bytes(b"weights")
    DirectoryRemote(repo)
    async with AsyncLive(root=repo, isolation=isolation, push=PushPolicy(when=when)) as live:
        await live.log_artifact("model.pt", name="net", type="model")
    call, children = of_call(spans)
    (push,) = (span for span in children if span.name == "asynclive.push")
    assert len(children) == len(STAGES) + 1
    assert call.context is not None
    assert push.attributes is not None
    assert dict(push.attributes) == {
        "asynclive.name": "net",
        "asynclive.path": str(repo / "model.pt"),
        "asynclive.push": 1,
        "asynclive.remote": "store",
        "asynclive.objects": 1,
        "asynclive.bytes": 7,
        "asynclive.outcome": "pushed",
    }


async def test_an_explicit_push_is_a_span_of_its_caller(
    repo: Path, spans: InMemorySpanExporter
) -> None:
    with (
        trace.get_tracer("test").start_as_current_span("step") as step,
        pytest.raises(RemoteNotFoundError),
    ):
        async with AsyncLive(root=repo) as live:
            await live.push()
    (push,) = (span for span in spans.get_finished_spans() if span.name == "asynclive.push")
    assert push.parent is not None
    assert push.parent.span_id == step.get_span_context().span_id
    assert push.status.status_code is StatusCode.ERROR
