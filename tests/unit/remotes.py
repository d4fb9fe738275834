"""Make units of a push, and a store that fails, waits and counts as a test says."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from asynclive._artifact.push_policy import Verify
from asynclive._artifact.push_records import PushObject, PushUnit, RemoteDescription, VerifiedBy
from asynclive._remote.request_budget import RequestBudget
from asynclive._remote.store import OnBytes, Sent, SourceOf, WrongObjectError


def make_remote(name: str = "r", path: Path = Path("/remote")) -> RemoteDescription:
    return RemoteDescription(name, str(path), "local", str(path / "files" / "md5"), {"url": path})


def md5_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def make_unit(
    files: Mapping[str, bytes],
    remote: RemoteDescription | None = None,
    cache: Path | None = None,
    name: str = "data",
) -> PushUnit:
    """Make the unit of a directory; with ``cache``, put its objects there."""
    objects = [PushObject(md5_of(data), len(data), f"{name}/{at}") for at, data in files.items()]
    text = "".join(f"{obj.path} {obj.md5}\n" for obj in objects).encode()
    listing = PushObject(f"{md5_of(text)}.dir", len(text), name)
    if cache is not None:
        for obj, data in zip((*objects, listing), (*files.values(), text), strict=True):
            path = cache / obj.md5[:2] / obj.md5[2:]
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    return PushUnit(f"/repo/{name}", remote or make_remote(), str(cache), objects, listing)


class ScriptedStore:
    """A store in memory. It records the calls in their order."""

    backend = "scripted"

    def __init__(self, budget: RequestBudget) -> None:
        self.budget = budget
        self.proofs: dict[str, VerifiedBy | None] = {}
        """The objects in the remote."""
        self.proof: VerifiedBy = "etag"
        """The proof of those that are sent."""
        self.sent: list[str] = []
        self.read: list[str] = []
        self.begun: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.errors: dict[str, Exception] = {}
        """Raised by ``send``."""
        self.wrong: set[str] = set()
        """The objects of which ``check_by_reading`` finds other bytes, until they are sent."""
        self.always_wrong: set[str] = set()
        self.gates: dict[str, asyncio.Event] = {}
        """``send`` waits for them."""
        self.clean_gate: asyncio.Event | None = None
        """``send`` waits for it at its end, also if it is cancelled."""
        self.find_gate: asyncio.Event | None = None
        self.is_closed = False
        self.at_once = self.most_at_once = 0

    async def find(
        self, objects: Sequence[PushObject], verify: Verify | None, source_of: SourceOf
    ) -> Mapping[str, VerifiedBy | None]:
        async with self.budget.request():
            found = {obj.md5: self.proofs[obj.md5] for obj in objects if obj.md5 in self.proofs}
            if self.find_gate is not None:
                await self.find_gate.wait()
            return found

    async def send(self, obj: PushObject, source: str, on_bytes: OnBytes) -> Sent:
        self.begun[obj.md5] += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            async with self.budget.request(obj.size):
                on_bytes(obj.size // 2)
                if obj.md5 in self.gates:
                    await self.gates[obj.md5].wait()
                else:
                    await asyncio.sleep(0)
                if obj.md5 in self.errors:
                    raise self.errors[obj.md5]
                on_bytes(obj.size - obj.size // 2)
        finally:
            if self.clean_gate is not None:
                with anyio.CancelScope(shield=True):
                    await self.clean_gate.wait()
            self.at_once -= 1
            self.ended[obj.md5] += 1
        self.sent.append(obj.md5)
        self.proofs[obj.md5] = self.proof
        self.wrong.discard(obj.md5)
        return Sent(self.proof)

    async def check_by_reading(self, obj: PushObject) -> None:
        async with self.budget.request():
            self.read.append(obj.md5)
            if obj.md5 in self.wrong | self.always_wrong or obj.md5 not in self.proofs:
                raise WrongObjectError("the bytes in the remote have another MD5")

    async def aclose(self) -> None:
        self.is_closed = True
