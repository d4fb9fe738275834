"""Describes a remote of DVC's configuration, as ``dvc push`` reads it. No connection is made."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ..._artifact.push_records import RemoteDescription
from ..._errors import RemoteAccessError, RemoteNotFoundError
from ..._remote.remote_options import find_only_dvc
from ..dvc_errors import plain_text

LEGACY_HASH_NAME = "md5-dos2unix"
# DVC's place for objects, below the path of a remote.
_OBJECTS = "/files/md5"

# The schemes for which an extra of asynclive brings DVC's package.
_EXTRAS = {"s3", "gs", "azure"}
# The name of DVC's package in its own message.
_PACKAGE = re.compile(r"'(dvc-\w+)'")


def describe_remote(config: Any, name: str | None) -> RemoteDescription:
    """Return the description of a remote (``dvc.data_cloud.DataCloud.get_remote``).

    Args:
        config: DVC's ``Config``: all its levels, merged.
        name: the name of the remote; None: the default remote, ``core.remote``.

    Raises:
        RemoteNotFoundError: there is none of this name, or no default remote.
        RemoteAccessError: DVC cannot use it: its configuration is not valid, or DVC's package for
            its scheme is not installed.
    """
    from dvc.config import ConfigError
    from dvc.config import RemoteNotFoundError as DvcNotFoundError
    from dvc.fs import get_cloud_fs, get_fs_config

    if not name:
        name = config["core"].get("remote")
        if not name:
            raise RemoteNotFoundError(None, _no_default(config), option="core.remote")
        known = "The option 'core.remote' names it, but "
    else:
        known = ""
    name = name.lower()  # as DVC reads the names of its configuration
    try:
        configured = get_fs_config(config, name=name)
        fs_class, options, path = get_cloud_fs(config, name=name)
    except DvcNotFoundError as error:
        if name in config["remote"]:  # its url names another remote, remote://other
            raise RemoteNotFoundError(
                name,
                f"its url is '{config['remote'][name].get('url')}', and {plain_text(error)}. "
                f"{_configured(config)}",
                option="url",
            ) from error
        raise RemoteNotFoundError(
            name,
            f"{known}no remote of this name is configured. {_configured(config)} To add it, run "
            f"'dvc remote add {name} URL'.",
        ) from error
    except ImportError as error:
        raise RemoteAccessError(name, _not_installed(config, name, error)) from error
    except (ConfigError, KeyError) as error:
        raise RemoteAccessError(
            name, f"DVC cannot use its configuration: {plain_text(error)}."
        ) from error
    scheme = fs_class.protocol
    if options.get("worktree"):
        if options.get("version_aware") is False:
            raise RemoteAccessError(
                name,
                f"a worktree remote must be version-aware. Run 'dvc remote modify {name} "
                "version_aware true'.",
                option="version_aware",
            )
        options["version_aware"] = True
    # Without what DVC reads from the url: the host of an S3 remote is its bucket.
    named = {key: value for key, value in options.items() if key in configured}
    if options.get("version_aware") and not options.get("worktree"):  # the url may say so too
        named["version_aware"] = True
    prefix = _objects_in(fs_class, path)
    return RemoteDescription(
        name=name,
        url=_without_password(configured["url"]),
        scheme=scheme,
        prefix=prefix,
        options=options,
        only_dvc=find_only_dvc(scheme, named) or _find_unusual_url(scheme, prefix),
    )


def legacy_description(remote: RemoteDescription) -> RemoteDescription:
    """Return the description of the place for outputs of DVC 2 (``Remote.legacy_odb``).

    DVC's own classes send to it: the names of its objects are not the MD5s of their bytes.
    """
    return replace(
        remote,
        prefix=remote_path(remote),
        hash_name=LEGACY_HASH_NAME,
        only_dvc=remote.only_dvc or "outputs of DVC 2",
    )


def remote_path(remote: RemoteDescription) -> str:
    """Return DVC's path of the remote itself (``Remote.path``)."""
    if remote.hash_name == LEGACY_HASH_NAME:
        return remote.prefix
    return remote.prefix[: -len(_OBJECTS)] or _OBJECTS[0]


def _find_unusual_url(scheme: str, prefix: str) -> str | None:
    """Return the option ``url`` if obstore would put the objects elsewhere than DVC, or refuse.

    DVC keeps parts of the path that are empty, ``.`` or ``..``, since a key may have them.
    """
    is_unusual = scheme in _EXTRAS and not {"", ".", ".."}.isdisjoint(prefix.split("/"))
    return "url" if is_unusual else None


def _objects_in(fs_class: Any, path: str) -> str:
    """Return where the objects lie in a remote (``Remote.odb``)."""
    return str(fs_class.join(path, *_OBJECTS.strip("/").split("/")))


def _no_default(config: Any) -> str:
    if not config["remote"]:
        return (
            "no remote is configured. Run 'dvc remote add -d NAME URL', or pass the name of a "
            "remote."
        )
    return (
        f"no default remote is configured. {_configured(config)} Run 'dvc remote default NAME', or "
        "pass the name of a remote. To add another one, run 'dvc remote add -d NAME URL'."
    )


def _configured(config: Any) -> str:
    names = ", ".join(f"'{name}'" for name in sorted(config["remote"]))
    return f"Configured: {names}." if names else "None is configured."


def _not_installed(config: Any, name: str, error: ImportError) -> str:
    """Return the reason for a scheme whose package of DVC is missing, and what to install."""
    scheme = urlsplit(config["remote"][name]["url"]).scheme
    package = _PACKAGE.search(str(error))
    if scheme in _EXTRAS or package is None:
        install = f"'asynclive[{scheme}]'"
    else:
        install = package[1]
    return f"{error}. Run: pip install {install}"


def _without_password(url: str) -> str:
    """Return a url for messages."""
    return re.sub(r"(?<=//)([^/@:]*):[^/@]*@", r"\1:***@", url)
