"""A server of S3 on this machine, for one run: rclone's, s3rver, or moto's.

rclone's takes the least of the processors. s3rver answers at one processor's pace, and knows
neither the list of an upload's parts nor the abortion of an upload. moto's is the slowest.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUCKET = "bench"
PREFIX = "dvc"
REGION = "us-east-1"
KEY = "S3RVER"  # the one that s3rver knows; moto accepts any
S3RVER_VERSION = "3.7.1"

_S3RVER = """
const S3rver = require('s3rver');
new S3rver({
  address: '127.0.0.1', port: 0, silent: true, directory: process.argv[1],
  configureBuckets: [{ name: 'bench', configs: [] }],
}).run().then(({ port }) => console.log(port));
process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
"""
_MOTO = """
import sys, threading
from moto.server import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
WSGIRequestHandler.disable_nagle_algorithm = True
WSGIRequestHandler.log_request = print_nothing = lambda *args: None
app = create_backend_app("s3")
server = make_server("127.0.0.1", 0, app, threaded=True)
app.test_client().put("/bench")
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class ObjectServer:
    """A running server."""

    kind: str
    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self) -> tuple[int, int]:
        """Return how many objects it has, and their bytes."""
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        sizes = [found["Size"] for page in pages for found in page.get("Contents", ())]
        return len(sizes), sum(sizes)

    def open_uploads(self) -> int:
        """Return how many multipart uploads are neither completed nor aborted."""
        return len(self._client().list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()))

    def _client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=KEY,
            aws_secret_access_key=KEY,
        )


def default_kind() -> str:
    """Return ``rclone`` if the bench's packages are installed, else ``s3rver`` or ``moto``.

    The quickest server comes first: it must not be what limits the sides.
    """
    if _rclone() is not None:
        return "rclone"
    return "s3rver" if shutil.which("npm") and shutil.which("node") else "moto"


def _rclone() -> str | None:
    """Return the rclone of this Python's environment: Debian's is too old to serve S3."""
    return shutil.which("rclone", path=os.path.dirname(sys.executable))


def install(kind: str, work_dir: Path) -> None:
    """Install s3rver in the working directory, unless it is there already."""
    where = work_dir / "s3rver"
    if kind != "s3rver" or (where / "node_modules" / "s3rver").is_dir():
        return
    where.mkdir(exist_ok=True)
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"s3rver@{S3RVER_VERSION}"]
    subprocess.run([*command, "--prefix", str(where)], check=True)


@contextmanager
def running(kind: str, work_dir: Path) -> Iterator[ObjectServer]:
    """Run an empty server for the block.

    Args:
        kind: ``rclone``, ``s3rver`` or ``moto``.
        work_dir: where ``install`` installed it.
    """
    # In memory where that is possible: no side pays for the disk of a server.
    memory = Path("/dev/shm")
    data = Path(tempfile.mkdtemp(prefix="objects-", dir=memory if memory.is_dir() else work_dir))
    if kind == "rclone":
        with _serving_by_rclone(data) as server:
            yield server
        return
    command = [sys.executable, "-c", _MOTO]
    if kind == "s3rver":
        # Its continuation tokens use a cipher that newer OpenSSL calls legacy.
        command = ["node", "--openssl-legacy-provider", "-e", _S3RVER, str(data)]
    process = subprocess.Popen(
        command,
        cwd=work_dir / "s3rver" if kind == "s3rver" else work_dir,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield ObjectServer(kind, int(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def _serving_by_rclone(data: Path) -> Iterator[ObjectServer]:
    """Serve the directories in ``data`` as buckets."""
    (data / BUCKET).mkdir()
    command = [str(_rclone()), "serve", "s3", "--addr", "127.0.0.1:0", "--auth-key", f"{KEY},{KEY}"]
    environment = {**os.environ, "RCLONE_CONFIG": os.devnull}
    process = subprocess.Popen(
        [*command, str(data)], stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            if found:
                break
        else:
            raise RuntimeError(f"rclone does not serve S3: {said}")
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield ObjectServer("rclone", int(found[1]))
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(data, ignore_errors=True)


def remote_config(endpoint: str) -> str:
    """Return the configuration of DVC that makes the server the default remote."""
    return (
        "[core]\n    remote = bench\n"
        "['remote \"bench\"']\n"
        f"    url = s3://{BUCKET}/{PREFIX}\n"
        f"    endpointurl = {endpoint}\n"
        f"    region = {REGION}\n"
        f"    access_key_id = {KEY}\n"
        f"    secret_access_key = {KEY}\n"
    )
