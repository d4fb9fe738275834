"""The file system under a path, as the mount table tells."""

from __future__ import annotations

import pytest

from asynclive._doctor.file_systems import local_locks


@pytest.mark.parametrize(
    ("kind", "options", "found"),
    [
        ("nfs", "rw,vers=3,hard,nolock,proto=tcp", "nolock"),
        ("nfs4", "rw,vers=4.2,local_lock=flock", "local_lock=flock"),
        ("nfs4", "rw,vers=4.2,local_lock=none", None),
        ("nfs", "rw,vers=3,local_lock=posix", None),  # asynclive and DVC take locks by flock
        ("lustre", "rw,localflock,lazystatfs", "localflock"),
        ("lustre", "rw,flock,lazystatfs", None),
        ("ext4", "rw,nolock", None),
    ],
)
def test_mounts_whose_locks_stay_on_the_host_are_known(
    kind: str, options: str, found: str | None
) -> None:
    assert local_locks(kind, options) == found
