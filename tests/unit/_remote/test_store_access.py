"""Tests of the store of obstore in a forked process. Tests of its renewal are at its errors."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, os, warnings
from asynclive._artifact.push_records import RemoteDescription
from asynclive._errors import RemoteAccessError
from asynclive._remote.cloud.store_access import StoreAccess

warnings.simplefilter("ignore")  # Python warns of a fork with threads, which this is about
remote = RemoteDescription(
    "r", "gs://b", "gs", "b/files/md5", {"allow_anonymous_login": True}
)
if __name__ == "__main__":
    asyncio.run(StoreAccess(remote).store())
    asyncio.run(StoreAccess(remote).store())
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(StoreAccess(remote).store())
        except RemoteAccessError as error:
            os._exit(7 if "isolation='process'" in str(error) else 1)
        os._exit(2)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="it has no fork")
def test_a_forked_child_is_told_that_obstore_does_not_work_there() -> None:
    assert subprocess.run([sys.executable, "-c", PROGRAM], check=False).returncode == 7
