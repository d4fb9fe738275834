"""Tests of the table of the options that asynclive obeys itself."""

from __future__ import annotations

from typing import Any

import pytest

from asynclive._remote.remote_options import OWN_OPTIONS, find_only_dvc


@pytest.mark.parametrize(
    ("scheme", "options", "expected"),
    [
        ("s3", {"url": "s3://b", "endpointurl": "http://h", "jobs": 4}, None),
        ("s3", {"version_aware": False, "worktree": False}, None),
        ("s3", {"version_aware": True, "url": "s3://b"}, "version_aware"),
        ("s3", {"acl": "public-read"}, "acl"),
        ("s3", {"grant_read": "id=1"}, "grant_read"),
        ("s3", {"sse_customer_algorithm": "AES256"}, None),
        ("s3", {"sse_customer_algorithm": "other"}, "sse_customer_algorithm"),
        ("gs", {"credentialpath": "/key.json"}, None),
        ("azure", {"exclude_environment_credential": True}, "exclude_environment_credential"),
        ("azure", {"exclude_environment_credential": False}, None),
        ("local", {"shared": "group"}, None),
        ("ssh", {"url": "ssh://host"}, "ssh"),
    ],
)
def test_an_option_that_is_not_ours_leaves_the_remote_to_dvc(
    scheme: str, options: dict[str, Any], expected: str | None
) -> None:
    assert find_only_dvc(scheme, options) == expected


def test_the_table_names_only_options_that_dvc_knows() -> None:
    from dvc.config_schema import REMOTE_SCHEMAS

    for scheme, own in OWN_OPTIONS.items():
        schema = REMOTE_SCHEMAS["" if scheme == "local" else scheme]
        assert own - {"verify"} <= {str(option) for option in schema}
