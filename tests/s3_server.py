"""Serve S3 on this machine: moto's server, in a process of its own, for all tests of a session.

Run as a program, this module is that process. It prints its port, and ends when its stdin does.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

# They sign requests. The server accepts any.
ACCESS_KEY_ID = "the-key-of-tests"
SECRET_ACCESS_KEY = "the-secret-of-tests"
REGION = "us-east-1"


class StoredObject(NamedTuple):
    size: int
    etag: str
    """Without the quotes."""


class OpenUpload(NamedTuple):
    key: str
    upload_id: str


class S3Server:
    """The server, as the tests see it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        # It listens since before it printed this, so a client need not wait.
        self.port = int(self._process.stdout.readline())
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.client = make_client(self.endpoint)
        self._buckets = 0

    def make_bucket(self) -> Bucket:
        """Make an empty bucket that no other test uses."""
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        self.client.create_bucket(Bucket=name)
        return Bucket(self, name)

    def forget(self, bucket: str) -> None:
        """Remove a bucket with all that it holds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{bucket}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "forgotten\n"

    def stop(self) -> None:
        self.client.close()
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


class Bucket:
    """One bucket of the server. Its methods go past the proxy, if a test has one.

    Args:
        server: the server that has it.
        name: the name of the bucket.
    """

    def __init__(self, server: S3Server, name: str) -> None:
        self.name = name
        self.endpoint = server.endpoint
        self.client = server.client

    def objects(self, prefix: str = "") -> dict[str, StoredObject]:
        """Return what the bucket holds, by key."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return {
            found["Key"]: StoredObject(found["Size"], found["ETag"].strip('"'))
            for page in pages
            for found in page.get("Contents", ())
        }

    def keys(self, prefix: str = "") -> set[str]:
        return set(self.objects(prefix))

    def get(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def uploads(self) -> list[OpenUpload]:
        """Return the multipart uploads that are neither completed nor aborted."""
        found = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", ())
        return [OpenUpload(each["Key"], each["UploadId"]) for each in found]

    def uploaded_bytes(self, upload: OpenUpload) -> int:
        """Return the bytes of the parts that an open upload has."""
        pages = self.client.get_paginator("list_parts").paginate(
            Bucket=self.name, Key=upload.key, UploadId=upload.upload_id
        )
        return sum(part["Size"] for page in pages for part in page.get("Parts", ()))

    def options(self, prefix: str = "dvc", endpoint: str | None = None) -> dict[str, str]:
        """Return DVC's options for a remote in this bucket, as in its configuration.

        Args:
            prefix: the path in the bucket.
            endpoint: the address of a proxy; None: the server's own.
        """
        return {
            "url": f"s3://{self.name}/{prefix}".rstrip("/"),
            "endpointurl": endpoint or self.endpoint,
            "region": REGION,
            "access_key_id": ACCESS_KEY_ID,
            "secret_access_key": SECRET_ACCESS_KEY,
        }

    def add_remote(
        self,
        repo: Path,
        name: str = "storage",
        *,
        prefix: str = "dvc",
        endpoint: str | None = None,
        default: bool = True,
        **options: str,
    ) -> None:
        """Add this bucket as a remote to a repository's configuration.

        The arguments beyond those of :meth:`options` and :func:`add_remote` are further options.
        """
        add_remote(repo, name, {**self.options(prefix, endpoint), **options}, default=default)


_SECRET = ("access_key_id", "secret_access_key", "session_token")


def add_remote(repo: Path, name: str, options: Mapping[str, str], *, default: bool = True) -> None:
    """Write a remote into ``.dvc/config``, and its credentials into ``.dvc/config.local``.

    So does ``dvc remote add``, a process for each option.

    Args:
        repo: the directory that has ``.dvc``.
        name: the name of the remote.
        options: DVC's options; ``url`` is one.
        default: make it the default remote.
    """
    from configobj import ConfigObj

    public = ConfigObj(str(repo / ".dvc" / "config"))
    secret = ConfigObj(str(repo / ".dvc" / "config.local"))
    section = f'remote "{name}"'
    for option, value in options.items():
        file = secret if option in _SECRET else public
        file.setdefault(section, {})[option] = value
    if default:
        public.setdefault("core", {})["remote"] = name
    for file in (public, secret):
        file.write()


def make_client(endpoint: str) -> Any:
    """Return boto3's client for the server at this address."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
        config=Config(proxies={}, retries={"max_attempts": 0}, s3={"addressing_style": "path"}),
    )


def _serve() -> None:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends
    from moto.server import create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        # The head and the body of a reply are two writes: the second one would wait 40 ms for the
        # acknowledgement of the first.
        disable_nagle_algorithm = True

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Write no line for each request."""

    server = make_server(
        "127.0.0.1", 0, create_backend_app("s3"), threaded=True, request_handler=Handler
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _say(str(server.server_port))
    for line in sys.stdin:
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets.pop(line.strip())
        _say("forgotten")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve()
