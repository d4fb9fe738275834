"""Give every test an isolated machine, both event loops, and real repositories."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trio._core import _thread_cache

# Then a failed assert in them shows both sides.
for module in ("disk", "invariants", "killing", "logged", "model"):
    pytest.register_assert_rewrite(module)

from reference import Reference  # noqa: E402
from s3_proxy import S3Proxy  # noqa: E402
from s3_server import Bucket, S3Server  # noqa: E402
from tally import hand_on, say, take  # noqa: E402
from twin import Templates  # noqa: E402
from unprivileged import NotPossibleError, permissions_count  # noqa: E402

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell script that starts the tests in the background ignores SIGINT; children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# What begins these environment variables would change what the tests do.
_FROM_OUTSIDE = (
    *("DVC", "GIT_", "XDG_", "ITERATIVE_", "PYTHONUNBUFFERED"),
    *("AWS_", "BOTO", "AZURE_", "GOOGLE_", "S3_", "MOTO_"),
)


@pytest.fixture(scope="session", autouse=True)
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Replace this machine's home directory, configuration and caches by empty ones.

    Git, DVC and DVCLive read and write nothing else of the machine. The umask is fixed, so that
    tests can compare file modes.
    """
    home = tmp_path_factory.mktemp("machine")
    # DVC keeps its state in SQLite, which waits for the disk at each write: that was half of the
    # time of these tests. In shared memory it does not wait.
    shm = Path("/dev/shm")
    memory = shm if os.access(shm, os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="asynclive-tests-", dir=memory) as site_cache,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in list(os.environ):
            if name.upper().startswith(_FROM_OUTSIDE) or name.lower().endswith("_proxy"):
                patch.delenv(name)
        for name, value in {
            "HOME": home,
            "XDG_CONFIG_HOME": home / "config",
            "XDG_CACHE_HOME": home / "cache",
            "XDG_DATA_HOME": home / "data",
            "XDG_STATE_HOME": home / "state",
            "GIT_CONFIG_GLOBAL": home / "gitconfig",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CEILING_DIRECTORIES": tmp_path_factory.getbasetemp(),
            "DVC_GLOBAL_CONFIG_DIR": home / "dvc-global",
            "DVC_SYSTEM_CONFIG_DIR": home / "dvc-system",
            "DVC_SITE_CACHE_DIR": site_cache,
            "DVC_NO_ANALYTICS": "1",
            "DVC_TEST": "1",  # DVC does not check for updates
            "ITERATIVE_DO_NOT_TRACK": "1",
            "DVC_STUDIO_OFFLINE": "1",
            # A client without credentials must not ask the network for some.
            "AWS_EC2_METADATA_DISABLED": "true",
            # Most tests inspect or patch the engine, which must be in this process for that. The
            # default, a worker process, has its own tests; a part of the contract with DVCLive
            # and all examples run with it too.
            "ASYNCLIVE_ISOLATION": "thread",
        }.items():
            patch.setenv(name, str(value))
        umask = os.umask(0o022)
        yield home
        os.umask(umask)


@pytest.fixture
def default_isolation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the isolation that users get by default: a worker process."""
    monkeypatch.delenv("ASYNCLIVE_ISOLATION")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def templates(machine: Path, tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """Make an empty repository of each kind once, to be copied for each test."""
    return Templates(tmp_path_factory.mktemp("templates"))


@pytest.fixture(scope="session")
def reference(machine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    """Start DVCLive in a process that serves the whole session."""
    reference = Reference(tmp_path_factory.mktemp("reference") / "stderr")
    yield reference
    reference.stop()


@pytest.fixture
def repo(templates: Templates, tmp_path: Path) -> Path:
    """Make a fresh Git repository with DVC in it and one commit."""
    return templates.make("git", tmp_path / "base")


@pytest.fixture(scope="session")
def s3_server(machine: Path) -> Iterator[S3Server]:
    """Start a server of S3 in a process that serves the whole session."""
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3_server: S3Server) -> Iterator[Bucket]:
    """Make an empty bucket; ``bucket.add_remote(repo)`` makes it a remote of DVC."""
    bucket = s3_server.make_bucket()
    yield bucket
    s3_server.forget(bucket.name)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[S3Proxy]:
    """Start a proxy of S3: ``bucket.add_remote(repo, endpoint=proxy.endpoint)`` goes through it."""
    proxy = S3Proxy(s3_server.port)
    yield proxy
    proxy.stop()


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Enforce file permissions for root as well, in this thread and the threads it starts."""
    # Trio keeps idle threads, which have the capabilities of the time when they were started.
    monkeypatch.setattr(_thread_cache, "THREAD_CACHE", _thread_cache.ThreadCache())
    try:
        with permissions_count():
            yield
    except NotPossibleError as error:
        pytest.skip(str(error))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    say(terminalreporter)


def pytest_sessionfinish(session: pytest.Session) -> None:
    hand_on(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    take(node)
