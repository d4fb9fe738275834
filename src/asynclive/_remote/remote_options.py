"""The options of DVC's remotes that asynclive obeys itself. Plain data; imports nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Options of every scheme. `verify` and `checksum_jobs` concern reading and the local cache, and
# DVC itself ignores `no_traverse`.
_COMMON = {"url", "jobs", "checksum_jobs", "verify", "no_traverse"}

OWN_OPTIONS: Mapping[str, frozenset[str]] = {
    "s3": frozenset(
        _COMMON
        | {
            "access_key_id",
            "allow_anonymous_login",
            "cache_regions",
            "configpath",
            "connect_timeout",
            "credentialpath",
            "endpointurl",
            "listobjects",
            "profile",
            "read_timeout",
            "region",
            "secret_access_key",
            "session_token",
            "sse",
            "sse_customer_algorithm",
            "sse_customer_key",
            "sse_kms_key_id",
            "ssl_verify",
            "use_ssl",
        }
    ),
    "gs": frozenset(
        _COMMON | {"allow_anonymous_login", "credentialpath", "endpointurl", "projectname"}
    ),
    "azure": frozenset(
        _COMMON
        | {
            "account_key",
            "account_name",
            "allow_anonymous_login",
            "client_id",
            "client_secret",
            "connection_string",
            "connection_timeout",
            "read_timeout",
            "sas_token",
            "tenant_id",
            "timeout",
        }
    ),
    "local": frozenset(_COMMON | {"shared", "slow_link_warning", "type", "protected"}),
}
"""By scheme, the options that asynclive obeys. A remote with any other one is pushed to by DVC's
own classes."""


def find_only_dvc(scheme: str, options: Mapping[str, Any]) -> str | None:
    """Return the scheme or the first option that only DVC's own classes support, or None.

    An option that is off counts as absent: ``version_aware = false`` says nothing.
    """
    own = OWN_OPTIONS.get(scheme)
    if own is None:
        return scheme
    for name, value in sorted(options.items()):
        if value and name not in own:
            return name
    if scheme == "s3" and options.get("sse_customer_algorithm") not in (None, "AES256"):
        return "sse_customer_algorithm"
    return None
