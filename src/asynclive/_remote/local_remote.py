"""LocalRemote: a directory as a remote, as ``dvc push`` leaves it.

Each object is complete in a temp directory in the remote before it gets its name. The work on files
blocks, and runs in threads.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from logging import getLogger
from typing import TypeVar

import anyio

from .._artifact.push_policy import Verify
from .._artifact.push_records import PushObject, RemoteDescription, VerifiedBy
from .._cache.remote_proofs import RemoteProofs
from .._errors import RemoteAccessError
from .._fs.change_detection import Stamp
from .._fs.file_io import remove_file
from .._workers.bounded_gather import run_together
from .._workers.fairness import checkpoint_in_thread
from .._workers.file_workers import default_workers
from .._workers.processors import usable_processors
from .._workers.shared_hops import SharedHops
from .._workers.thread_start import run_in_any_thread, run_in_thread
from .._workspace.crash_recovery import remove_dead_sessions
from .._workspace.temp_directory import TempDirectory
from .directory.object_copy import SMALL_BYTES, STEP_BYTES, ObjectCopy, copy_small
from .directory.object_directory import ObjectDirectory, hash_of
from .request_budget import RequestBudget
from .store import OnBytes, Sent, SourceOf, WrongObjectError

logger = getLogger(__name__)

T = TypeVar("T")

# The most objects that one hop to a thread looks at or reads.
_STEP_OBJECTS = 256
# The most small objects that one hop stores. A cancelled push waits for them.
_SMALL_OBJECTS = 32
# The most proofs that are only in memory. A kill loses them: the objects are then read again.
_UNSAVED_PROOFS = 1000
# After these, no other object can be stored either.
_NO_STORING = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EROFS, errno.ESTALE)


class LocalRemote:
    """A directory as a remote. It implements ``RemoteStore``.

    Args:
        remote: the remote; its scheme is ``"local"``.
        budget: the permits that all pushes share.
        cache_dir: the directory for the cached proofs.
    """

    backend = "local"

    def __init__(self, remote: RemoteDescription, budget: RequestBudget, cache_dir: str) -> None:
        self._remote = remote
        self._budget = budget
        self._directory = ObjectDirectory(remote.prefix, bool(remote.options.get("shared")))
        self._limiter = anyio.CapacityLimiter(default_workers())
        self._proofs = RemoteProofs(cache_dir, remote.prefix)
        self._unsaved: dict[str, Stamp] = {}
        self._is_cleared = False
        self._temp: TempDirectory | None = None
        self._starts = anyio.Lock()  # protects the temp directory, while it is made
        # Limit on large objects in progress, since each keeps two files open between its steps.
        self._large = anyio.CapacityLimiter(budget.max_requests)
        # Whether a file can share blocks with one of the cache; the first objects tell.
        self._shares_blocks = True
        self._small: SharedHops[Stamp] = SharedHops(
            self._run_hop, usable_processors(), _SMALL_OBJECTS, STEP_BYTES
        )

    async def find(
        self, objects: Sequence[PushObject], verify: Verify | None, _source_of: SourceOf
    ) -> Mapping[str, VerifiedBy | None]:
        """Look for objects, as ``RemoteStore`` says. Those without a cached proof are read."""
        await run_in_thread(self._clear_up, self._limiter)
        stamps: dict[str, Stamp | None] = {}
        looks = (
            partial(self._look_at, objects[start : start + _STEP_OBJECTS], stamps)
            for start in range(0, len(objects), _STEP_OBJECTS)
        )
        await run_together(looks, self._budget.max_requests)
        # Without its size, only its bytes can prove an object.
        if verify == "read" or (verify is None and all(obj.size >= 0 for obj in objects)):
            return {md5: None if stamp is None else "size" for md5, stamp in stamps.items()}
        found: dict[str, VerifiedBy | None] = dict.fromkeys(stamps)
        known = await self._load_proofs(stamps)
        unknown: list[tuple[PushObject, Stamp]] = []
        for obj in objects:
            stamp = stamps.get(obj.md5)
            if stamp is not None and known.get(obj.md5) == stamp:
                found[obj.md5] = "checksum"
            elif stamp is not None:
                unknown.append((obj, stamp))
        jobs = (partial(self._prove, some, found) for some in _in_steps(unknown))
        await run_together(jobs, self._budget.max_requests)
        return found

    async def send(self, obj: PushObject, source: str, on_bytes: OnBytes) -> Sent:
        """Copy an object into the directory, as ``RemoteStore`` says."""
        temp = (await self._temp_directory()).new_path()
        if obj.size <= SMALL_BYTES and not self._shares_blocks:
            store = partial(self._store_small, obj, source, temp)
            stamp = await self._small.call(store, obj.size)
            on_bytes(obj.size)
        else:
            async with self._large:
                stamp = await self._store_large(ObjectCopy(obj, source, temp), obj, on_bytes)
        await self._keep_proofs({obj.md5: stamp})
        return Sent("checksum")

    async def check_by_reading(self, obj: PushObject) -> None:
        """Read an object back, as ``RemoteStore`` says."""
        read = partial(self._directory.read, obj, checkpoint_in_thread)
        try:
            md5 = await self._request(read)
        except OSError as error:
            raise WrongObjectError(
                f"the remote has no readable object: {error.strerror or error}"
            ) from error
        if md5 != hash_of(obj):
            raise WrongObjectError(f"the bytes in the remote have the MD5 {md5}")

    async def aclose(self) -> None:
        """Remove the temp directory, and save the proofs. An error is logged."""
        await self._save_proofs()
        if self._temp is not None:
            temp, self._temp = self._temp, None
            with anyio.CancelScope(shield=True):
                await run_in_any_thread(partial(_close, temp), self._limiter)

    # --- Sending ---------------------------------------------------------------------------

    async def _temp_directory(self) -> TempDirectory:
        """Return the temp directory in the remote; make both when they are first needed."""
        async with self._starts:
            if self._temp is None:
                try:
                    self._temp = await run_in_thread(self._start, self._limiter)
                except OSError as error:
                    raise self._access_error(error) from error
            return self._temp

    def _clear_up(self) -> None:
        """Remove the temp files of killed pushes, once; forget a temp directory that is gone.

        A user may have removed the whole remote. This push then makes it again.
        """
        if not self._is_cleared:
            self._is_cleared = True
            remove_dead_sessions([self._directory.path])
        temp = self._temp
        if temp is not None and not temp.exists():
            self._temp = None
            _close(temp)

    def _start(self) -> TempDirectory:
        self._directory.make()
        return TempDirectory.start(self._directory.path)

    def _store_small(self, obj: PushObject, source: str, temp: str) -> Stamp:
        """Store a small object, in a thread; return its stamp."""
        with self._refusal_as_error():
            stamp = copy_small(obj, source, temp)
            try:
                self._directory.publish(temp, obj.md5)
            except BaseException:
                remove_file(temp)
                raise
            return stamp

    async def _store_large(self, copy: ObjectCopy, obj: PushObject, on_bytes: OnBytes) -> Stamp:
        """Store an object step by step; return its stamp."""
        stamp = None
        try:
            while stamp is None:
                count = copy.next_bytes
                stamp = await self._request(partial(self._step, copy, obj), count)
                on_bytes(count)
        finally:
            if stamp is None:
                with anyio.CancelScope(shield=True):
                    await run_in_any_thread(copy.discard, self._limiter)
        self._shares_blocks = copy.has_shared or (self._shares_blocks and not obj.size)
        return stamp

    def _step(self, copy: ObjectCopy, obj: PushObject) -> Stamp | None:
        """Copy the next bytes, in a thread; return the stamp of the object once it is stored."""
        with self._refusal_as_error():
            stamp = copy.step(checkpoint_in_thread)
            if stamp is not None:
                self._directory.publish(copy.temp, obj.md5)
            return stamp

    async def _run_hop(self, func: Callable[[], None], size: int) -> None:
        await self._request(func, size)

    @contextlib.contextmanager
    def _refusal_as_error(self) -> Iterator[None]:
        """Translate an error that any other object would meet too."""
        try:
            yield
        except OSError as error:
            if error.errno in _NO_STORING:
                raise self._access_error(error) from error
            raise

    def _access_error(self, error: OSError) -> RemoteAccessError:
        return RemoteAccessError(
            self._remote.name,
            f"{error.strerror or error}: '{self._directory.path}'. Remove the cause, or choose "
            f"another directory: 'dvc remote modify {self._remote.name} url DIRECTORY'.",
            option="url",
        )

    # --- Proofs ----------------------------------------------------------------------------

    async def _look_at(self, some: Sequence[PushObject], stamps: dict[str, Stamp | None]) -> None:
        """Put the stamps of those objects that are in the remote into ``stamps``."""
        look = partial(self._directory.look_at, some, checkpoint_in_thread)
        stamps.update(await self._request(look))

    async def _prove(
        self, some: Sequence[tuple[PushObject, Stamp]], found: dict[str, VerifiedBy | None]
    ) -> None:
        """Read objects, and put those that are right into ``found``."""
        prove = partial(self._directory.prove, some, checkpoint_in_thread)
        right, stamps = await self._request(prove)
        found.update(dict.fromkeys(right, "checksum"))
        await self._keep_proofs(stamps)

    async def _load_proofs(self, stamps: Mapping[str, Stamp | None]) -> Mapping[str, Stamp]:
        if not any(stamps.values()):
            return {}
        known = await run_in_thread(
            partial(self._proofs.load, stamps, checkpoint_in_thread), self._limiter
        )
        return known | self._unsaved

    async def _keep_proofs(self, stamps: dict[str, Stamp]) -> None:
        self._unsaved.update(stamps)
        if len(self._unsaved) >= _UNSAVED_PROOFS:
            await self._save_proofs()

    async def _save_proofs(self) -> None:
        unsaved, self._unsaved = self._unsaved, {}
        if unsaved:
            await run_in_any_thread(partial(self._proofs.add, unsaved), self._limiter)

    async def _request(self, func: Callable[[], T], sent_bytes: int = 0) -> T:
        """Run a function in a thread, with a permit."""
        async with self._budget.request(sent_bytes):
            return await run_in_thread(func, self._limiter)


def _close(temp: TempDirectory) -> None:
    try:
        temp.close()
    except OSError as error:
        logger.warning("'%s' cannot be removed now: %s", temp.path, error)


def _in_steps(
    objects: Sequence[tuple[PushObject, Stamp]],
) -> Iterator[Sequence[tuple[PushObject, Stamp]]]:
    """Divide objects to read into steps: many small ones, or one that is large."""
    start = size = 0
    for end, (_, (_, object_size, _)) in enumerate(objects):
        if end > start and (size + object_size > STEP_BYTES or end - start >= _STEP_OBJECTS):
            yield objects[start:end]
            start, size = end, 0
        size += object_size
    if start < len(objects):
        yield objects[start:]
