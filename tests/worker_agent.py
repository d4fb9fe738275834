"""Objects in the worker process of ``isolation="process"``, which a test calls from outside.

The test has an ``Agent`` for each; its requests and the answers go through two named pipes. In the
worker, a thread takes the requests, and the event loop of the worker handles them.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import pickle
import select
import threading
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest
from isolated import in_worker

from asynclive._isolation import worker_main

# Code for a worker: complete the package. A worker has imported only the parts that it needs.
_WITH_PACKAGE = """
import asynclive
if not hasattr(asynclive, "__file__"):
    asynclive.__package__, asynclive.__file__ = "asynclive", asynclive.__path__[0] + "/__init__.py"
    with open(asynclive.__file__) as init:
        exec(compile(init.read(), asynclive.__file__, "exec"), vars(asynclive))
"""

# Far more than an answer takes: a test that hangs fails with a message.
_SECONDS = 300


class Agents:
    """Puts objects into the worker processes that start from now on; ``close`` ends that.

    Args:
        patch: undone after the test.
        directory: where to make pipes and files.
    """

    def __init__(self, patch: pytest.MonkeyPatch, directory: Path) -> None:
        self.directory = directory
        self._patch = patch
        self._open = ExitStack()

    def make(self, factory: str, *args: object) -> Agent:
        """Have each worker make an object of this class, and return an agent that calls it.

        Args:
            factory: ``module:class`` of the object.
            args: arguments of the class; they must pickle.
        """
        name = factory.replace(":", "-")
        asked, answered = self.pipe(f"{name}-asked"), self.pipe(f"{name}-answered")
        work = pickle.dumps((factory, args, asked.path, answered.path))
        self.run(f"import worker_agent\nworker_agent.install({work!r})")
        return Agent(asked.fd, self._open.enter_context(os.fdopen(os.dup(answered.fd), "rb")))

    def run(self, code: str) -> None:
        """Have each worker run this code before it serves, with the whole package imported."""
        in_worker(self._patch, f"{_WITH_PACKAGE}\n{code}")

    def pipe(self, name: str) -> Pipe:
        """Make a named pipe. This process has both ends open, so opening it does not wait."""
        path = str(self.directory / name)
        os.mkfifo(path)
        fd = os.open(path, os.O_RDWR)
        self._open.callback(os.close, fd)
        return Pipe(path, fd)

    def close(self) -> None:
        self._open.close()


class Pipe(NamedTuple):
    path: str
    fd: int


class Agent:
    """Calls the methods of the object in the worker that runs now."""

    def __init__(self, requests: int, answers: IO[bytes]) -> None:
        self._requests = requests
        self._answers = answers

    def ask(self, method: str, *args: object) -> Any:
        """Call a method, which may be a coroutine function; return its result. Blocks."""
        os.write(self._requests, pickle.dumps((method, args)))
        assert select.select([self._answers], [], [], _SECONDS)[0], f"no answer to {method}"
        error, result = pickle.load(self._answers)
        assert error is None, f"{method} in the worker: {error}"
        return result


def install(work: bytes) -> None:
    """Make the object in a worker, and serve it as soon as the event loop runs."""
    factory, args, asked, answered = pickle.loads(work)
    module, _, name = factory.partition(":")
    served = getattr(import_module(module), name)(*args)
    run = worker_main._Worker.run

    async def run_served(worker: Any, *args: Any) -> None:
        served.session = worker._session
        loop = asyncio.get_running_loop()
        # A daemon: it waits for requests when the process ends.
        threading.Thread(target=_serve, args=(served, loop, asked, answered), daemon=True).start()
        await run(worker, *args)

    worker_main._Worker.run = run_served  # type: ignore[method-assign]


def _serve(served: Any, loop: asyncio.AbstractEventLoop, asked: str, answered: str) -> None:
    with open(asked, "rb") as requests, open(answered, "wb", buffering=0) as answers:
        while True:
            method, args = pickle.load(requests)
            handled = asyncio.run_coroutine_threadsafe(_handle(served, method, args), loop)
            try:
                answer = None, handled.result()
            except Exception as error:
                answer = repr(error), None
            answers.write(pickle.dumps(answer))


async def _handle(served: Any, method: str, args: tuple[Any, ...]) -> Any:
    result = getattr(served, method)(*args)
    return await result if inspect.isawaitable(result) else result
