"""The block is never left: the program ends all the same, and artifacts are logged or named."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from backends import Isolation, in_both
from gate import SECONDS, locked
from programs import run_program

from asynclive import ArtifactHandle, AsyncLive, NotActiveError

START = """
import asyncio, atexit, multiprocessing, os, sys, threading
import asynclive._api.interpreter_exit as interpreter_exit
from asynclive import ArtifactStaged, AsyncLive, BlockingLive

def submitted():
    print("submitted", flush=True)

def submit(live):
    live.submit("a.pt")
    submitted()

async def abandon(live):
    await live.__aenter__()
    await live.submit("a.pt")
    submitted()
"""
NEVER_CLOSED = START + "submit(BlockingLive(AsyncLive(), backend=sys.argv[1]).__enter__())\n"

# The loop runs, or can run again, at the end of the program, so it finishes the artifact.
FINISHED = {
    "exception between the callbacks of a framework": """
submit(AsyncLive.blocking().__enter__())
raise ZeroDivisionError
""",
    "with block in a daemon thread": """
ready = threading.Event()
def run():
    with AsyncLive.blocking() as live:
        submit(live)
        ready.set()
        threading.Event().wait()
threading.Thread(target=run, daemon=True).start()
ready.wait()
""",
    "asyncio in a daemon thread": """
ready = threading.Event()
async def main():
    async with AsyncLive() as live:
        await live.submit("a.pt")
        submitted()
        ready.set()
        await asyncio.Event().wait()
threading.Thread(target=asyncio.run, args=[main()], daemon=True).start()
ready.wait()
""",
    "loop that is no longer run": """
loop = asyncio.new_event_loop()
loop.run_until_complete(abandon(AsyncLive()))
""",
    "loop that is stopped inside the block": """
loop = asyncio.new_event_loop()
async def main():
    async with AsyncLive() as live:
        await live.submit("a.pt")
        submitted()
        loop.stop()
        await asyncio.Event().wait()
task = loop.create_task(main())
loop.run_forever()
""",
    "child forked by multiprocessing": """
process = multiprocessing.get_context("fork").Process(
    target=lambda: submit(AsyncLive.blocking().__enter__())
)
process.start()
process.join()
""",
    "child that inherits the block": """
live = AsyncLive.blocking().__enter__()
submit(live)
child = os.fork()
if child == 0:
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
""",
    "exit in a callback, in the thread of the loop": """
def on_event(event):
    if isinstance(event, ArtifactStaged):
        raise SystemExit(1)
submit(AsyncLive.blocking(on_event=on_event).__enter__())
""",
    "left by a finalizer, when no thread runs any more": """
class Trainer:
    def __init__(self):
        self.live = AsyncLive.blocking().__enter__()
    def __del__(self):
        self.live.__exit__(None, None, None)
trainer = Trainer()
submit(trainer.live)
""",
    "left by a function of atexit, which comes later": """
live = AsyncLive.blocking()
atexit.register(live.__exit__, None, None, None)
submit(live.__enter__())
""",
}

# No loop finishes the artifact.
NAMED = {
    "asyncio.run": "asyncio.run(abandon(AsyncLive()))",
    "trio.run": "import trio; trio.run(abandon, AsyncLive())",
    "closed loop": """
loop = asyncio.new_event_loop()
loop.run_until_complete(abandon(AsyncLive()))
loop.close()
""",
    "loop that is stopped inside the block, and closed": """
loop = asyncio.new_event_loop()
async def main():
    await abandon(AsyncLive())
    loop.stop()
    await asyncio.Event().wait()
task = loop.create_task(main())
loop.run_forever()
loop.close()
""",
    "SystemExit in a callback of asyncio": """
def on_event(event):
    if isinstance(event, ArtifactStaged) and event.name == "b":
        raise SystemExit
async def main():
    async with AsyncLive(on_event=on_event) as live:
        await live.submit("a.pt")
        submitted()
        await live.submit("b.pt")
        await asyncio.Event().wait()
asyncio.run(main())
""",
    "too little time": """
interpreter_exit.FINISH_SECONDS = 0.1
submit(AsyncLive.blocking().__enter__())
""",
}


@pytest.fixture(autouse=True)
def source(repo: Path) -> None:
    for name in ("a.pt", "b.pt"):
        (repo / name).write_text(name)


def check_finished(repo: Path, code: str, *args: str, isolation: Isolation) -> str:
    """Run the program, whose artifact waits for a lock until the program ends."""
    with locked(repo) as gate:
        process = run_program(repo, code, *args, isolation=isolation)
        assert process.stdout is not None
        assert process.stdout.readline() == "submitted\n"
        gate.open()
        printed, errors = process.communicate(timeout=SECONDS)
    assert printed == ""
    assert (repo / "a.pt.dvc").exists(), errors
    return errors


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@in_both
def test_a_blocking_object_that_is_never_closed_finishes_its_artifacts(
    repo: Path, backend: str, isolation: Isolation
) -> None:
    check_finished(repo, NEVER_CLOSED, backend, isolation=isolation)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="some of the programs fork")
@pytest.mark.parametrize("case", FINISHED)
def test_a_block_that_is_never_left_finishes_its_artifacts(repo: Path, case: str) -> None:
    code = START + "import warnings; warnings.simplefilter('ignore')\n" + FINISHED[case]
    check_finished(repo, code, isolation="thread")


@pytest.mark.parametrize("case", NAMED)
@in_both
def test_artifacts_of_a_block_that_cannot_be_finished_are_named(
    repo: Path, case: str, isolation: Isolation
) -> None:
    with locked(repo):
        process = run_program(repo, START + NAMED[case], isolation=isolation)
        printed, errors = process.communicate(timeout=SECONDS)
    assert (printed, process.returncode) == ("submitted\n", 0)
    assert "'a.pt'" in errors
    assert not (repo / "a.pt.dvc").exists()


@in_both
def test_a_handle_of_a_loop_that_was_shut_down_raises_at_once(
    repo: Path, isolation: Isolation
) -> None:
    live = AsyncLive(root=repo, isolation=isolation)

    async def abandon() -> ArtifactHandle:
        await live.__aenter__()
        return await live.submit("a.pt")

    with locked(repo):
        handle = asyncio.run(abandon())
    with pytest.raises(NotActiveError, match=r"a\.pt"):
        asyncio.run(handle.wait())
    with pytest.raises(NotActiveError, match=r"AsyncLive\.blocking\(\)"):
        asyncio.run(live.log_artifact("a.pt"))
