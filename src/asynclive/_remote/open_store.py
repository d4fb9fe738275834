"""Opens the store of a remote that asynclive sends to itself."""

from __future__ import annotations

from importlib.util import find_spec

from .._artifact.push_policy import DEFAULT_PART_SIZE, PushPolicy
from .._artifact.push_records import RemoteDescription
from .._errors import RemoteAccessError
from .request_budget import RequestBudget
from .store import RemoteStore


async def open_store(
    description: RemoteDescription, budget: RequestBudget, policy: PushPolicy, state_dir: str
) -> RemoteStore:
    """Return the store of a remote whose ``only_dvc`` is None. Close it with ``aclose``.

    Args:
        description: the remote.
        budget: the permits and the bandwidth that all pushes share.
        policy: how the session pushes.
        state_dir: the directory of the journals of large uploads, and of cached proofs.

    Raises:
        RemoteAccessError: an option cannot be used, there are no credentials, or obstore is not
            installed.
    """
    if description.scheme == "local":
        from .local_remote import LocalRemote

        return LocalRemote(description, budget, state_dir)
    if find_spec("obstore") is None:
        raise RemoteAccessError(
            description.name,
            f"obstore is not installed. Run pip install 'asynclive[{description.scheme}]'.",
        )
    try:
        from .cloud.known_etags import KnownEtags
        from .cloud.object_storage import ObjectStorage
        from .cloud.retried_requests import READ_TIMEOUT, RetriedRequests
        from .cloud.store_access import StoreAccess
    except ImportError as error:  # its binary part does not fit this machine
        raise RemoteAccessError(
            description.name,
            f"obstore cannot be imported: {error}. Run pip install --force-reinstall obstore.",
        ) from error

    part_size = policy.part_size or DEFAULT_PART_SIZE
    connection = uploader = None
    if description.scheme == "s3":
        from .s3.lazy_uploader import LazyUploader
        from .s3.s3_client import S3Connection

        connection = S3Connection(description, budget.max_requests)
        uploader = LazyUploader(connection, budget, state_dir, part_size)
    access = StoreAccess(description, connection)
    requests = RetriedRequests(
        access, budget, description.options.get("read_timeout") or READ_TIMEOUT
    )
    await access.store()
    return ObjectStorage(
        access,
        requests,
        KnownEtags(state_dir, f"{description.options.get('endpointurl')} {description.prefix}"),
        uploader,
        part_size,
        skips=description.scheme != "azure",
    )
