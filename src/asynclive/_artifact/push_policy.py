"""PushPolicy: how a session pushes its artifacts to a DVC remote. Checked, frozen, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Verify = Literal["store", "read"]
"""How an object in the remote is proven."""
VerifyOrPolicy = Verify | Literal["policy"] | None
"""The same, for one push; ``"policy"``: as the policy of the session says."""
When = Literal["after_commit", "before_commit"]
OnError = Literal["raise", "keep"]

# S3 refuses smaller parts, except for the last one.
MIN_PART_SIZE = 5 * 1024 * 1024
DEFAULT_PART_SIZE = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PushPolicy:
    """How an :class:`AsyncLive` pushes the artifacts that it logs.

    Raises:
        TypeError: a value has another type.
        ValueError: a value is out of its range.

    Example::

        policy = PushPolicy(remote="backup", max_bandwidth=20 * 1024 * 1024)
        async with AsyncLive(push=policy) as live:
            await live.log_artifact("model.pt")
    """

    remote: str | None = None
    """The name of a DVC remote. None: the default remote, ``core.remote``. An artifact whose
    ``.dvc`` file names a ``remote`` goes there in any case."""
    when: When = "after_commit"
    """``"after_commit"``: a call returns once its artifact is committed, and the push goes on.
    ``"before_commit"``: a call returns once its artifact is in the remote and committed. If the
    push fails, nothing is committed."""
    verify: Verify | None = "store"
    """How each object in the remote is proven. ``"store"``: by the size and the checksum that the
    remote reports. ``"read"``: its bytes are read back and hashed. None: by its size alone."""
    max_requests: int | None = None
    """Maximum number of requests at a time, over all artifacts. None: the ``jobs`` of the remote,
    else 16."""
    max_bandwidth: int | None = None
    """Maximum number of bytes sent in a second, over all artifacts. None: no limit."""
    part_size: int | None = None
    """Bytes of one part of a large file, at least 5 MiB. A file larger than one part is sent in
    parts. None: 8 MiB. A push holds at most ``max_requests`` parts in memory."""
    on_error: OnError = "raise"
    """``"raise"``: leaving the block raises the error of a push that no task awaited. ``"keep"``:
    it does not; the next session or ``asynclive push`` goes on."""

    def __post_init__(self) -> None:
        if not isinstance(self.remote, str | None):
            raise TypeError(f"remote must be the name of a remote, not {self.remote!r}")
        if self.remote == "":
            raise ValueError("remote must name a remote, and not be empty")
        for name, value, allowed in (
            ("when", self.when, get_args(When)),
            ("verify", self.verify, (*get_args(Verify), None)),
            ("on_error", self.on_error, get_args(OnError)),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, not {value!r}")
        for name, number, least in (
            ("max_requests", self.max_requests, 1),
            ("max_bandwidth", self.max_bandwidth, 1),
            ("part_size", self.part_size, MIN_PART_SIZE),
        ):
            if number is None:
                continue
            if not isinstance(number, int) or isinstance(number, bool):
                raise TypeError(f"{name} must be a whole number, not {number!r}")
            if number < least:
                raise ValueError(f"{name} must be at least {least}, not {number}")


def choose_verify(verify: VerifyOrPolicy, policy: PushPolicy | None) -> Verify | None:
    """Return how one push proves its objects.

    Args:
        verify: the argument of ``AsyncLive.push``.
        policy: that of the session; None: the default of :class:`PushPolicy` counts.

    Raises:
        ValueError: ``verify`` is not known.
    """
    if verify == "policy":
        return (policy or PushPolicy()).verify
    return PushPolicy(verify=verify).verify


def make_policy(push: bool | str | PushPolicy | None) -> PushPolicy | None:
    """Return the policy that the argument ``push`` of ``AsyncLive`` means; None: nothing is pushed.

    Raises:
        TypeError: it is none of the accepted types.
        ValueError: it is an empty name.
    """
    if push is None or push is False:
        return None
    if push is True:
        return PushPolicy()
    if isinstance(push, str):
        if not push:
            raise ValueError("push must name a remote, and not be empty")
        return PushPolicy(remote=push)
    if isinstance(push, PushPolicy):
        return push
    raise TypeError(
        f"push must be True, the name of a remote, or a PushPolicy, not {type(push).__name__}"
    )
