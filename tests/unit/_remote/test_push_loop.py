"""Tests of the event loop of the push thread."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from asynclive._remote.push_loop import PushLoop


def test_closing_waits_for_a_thread_that_wakes_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = PushLoop()
    wakes, may_end, closed = threading.Event(), threading.Event(), threading.Event()

    def wake() -> None:
        wakes.set()
        assert may_end.wait(60)

    def close() -> None:
        loop.close()
        closed.set()

    monkeypatch.setattr(loop, "_write_to_self", wake)
    waking = threading.Thread(target=loop.call_soon_threadsafe, args=(print,))
    waking.start()
    assert wakes.wait(60)
    closing = threading.Thread(target=close)
    closing.start()
    assert not closed.is_set()
    assert not loop.is_closed()
    may_end.set()
    closing.join()
    waking.join()
    assert loop.is_closed()


def test_a_program_that_ends_right_after_a_request_is_not_aborted() -> None:
    program = (
        "import obstore\n"
        "from obstore.store import MemoryStore\n"
        "from asynclive._remote.push_loop import PushLoop\n"
        "async def put():\n"
        "    store = MemoryStore()\n"
        "    for number in range(200):\n"
        "        await obstore.put_async(store, str(number), b'bytes')\n"
        "loop = PushLoop()\n"
        "loop.run_until_complete(put())\n"
        "loop.close()\n"
    )
    for _ in range(5):
        subprocess.run([sys.executable, "-c", program], check=True)
