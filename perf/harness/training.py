"""The training of the bench ``training_stall``: steps, and checkpoints that hold their number.

With PyTorch the training is real: an embedding table of the checkpoint's size with sparse
gradients, and a dense network behind it. A step changes equally many rows whatever the size. The
training leaves one core to the logger. Without PyTorch a loop in Python stands for the step, which
never releases the interpreter, and bytes stand for the weights.

Before the weights are saved, a stamp with the number of the checkpoint is written over them at
even distances. The logged bytes then show whether they are right (all stamps have this number),
torn (the stamps of several checkpoints, or too few) or wrong (all stamps of another checkpoint).
"""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import os
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from perf.harness.units import KIB

_ROW = 256  # floats
_ROW_BYTES = 4 * _ROW
# Floats that no training produces. The number of the checkpoint follows them.
_MARK = (12345.678, -9876.5432, 3.1415927e20, -2.7182818e-20)
_MARK_BYTES = struct.pack("<4f", *_MARK)
STAMP_EVERY = 256 * KIB
FILE_BYTES = 16 * KIB
"""The size of one file of a checkpoint that is a directory. Each file has one stamp."""
_FILES_A_DIRECTORY = 100


class Training(Protocol):
    engine: str
    stamps: int

    def step(self) -> None: ...
    def stamp(self, number: int) -> None: ...
    def save(self, path: Path) -> None: ...


def make(size: int, *, isdir: bool) -> TorchTraining | BusyTraining:
    """Make a training with checkpoints of ``size`` bytes; ``isdir``: in files of ``FILE_BYTES``."""
    kind = TorchTraining if importlib.util.find_spec("torch") else BusyTraining
    return kind(size, isdir=isdir)


class TorchTraining:
    def __init__(self, size: int, *, isdir: bool) -> None:
        import torch
        from torch import nn

        torch.manual_seed(0)
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) - 1))
        self.engine = f"torch {torch.__version__}"
        self._torch = torch
        self._isdir = isdir
        self._rows = max(2 * FILE_BYTES, size // FILE_BYTES * FILE_BYTES) // _ROW_BYTES
        self._table = nn.Embedding(
            self._rows, _ROW, sparse=True, _weight=0.1 * torch.ones(self._rows, _ROW)
        )
        self._network = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(_ROW, _ROW), nn.ReLU(), nn.LayerNorm(_ROW))
                for _ in range(12)
            ),
            nn.Linear(_ROW, 16),
        )
        self._loss = nn.functional.cross_entropy
        self._optimizers = (
            torch.optim.SGD(self._table.parameters(), lr=0.1),
            torch.optim.AdamW(self._network.parameters()),
        )
        self._distance = (FILE_BYTES if isdir else STAMP_EVERY) // _ROW_BYTES
        self.stamps = len(range(0, self._rows, self._distance))

    def step(self) -> None:
        torch = self._torch
        rows = torch.randint(self._rows - 1, (256,))
        rows += rows % self._distance == 0  # the rows with stamps stay as they are
        loss = self._loss(self._network(self._table(rows)), torch.randint(16, (256,)))
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self._optimizers:
            optimizer.step()

    def stamp(self, number: int) -> None:
        with self._torch.no_grad():
            stamped = self._table.weight[:: self._distance, :5]
            stamped.copy_(self._torch.tensor([*_MARK, number]))

    def state(self) -> dict[str, Any]:
        return {"table": self._table.state_dict(), "network": self._network.state_dict()}

    def save(self, path: Path) -> None:
        if self._isdir:
            weights = self._table.weight.detach()
            # The memory itself, without NumPy: PyTorch may be installed without it.
            memory = (ctypes.c_char * weights.nbytes).from_address(weights.data_ptr())
            _save_files(path, memoryview(memory).cast("B"))
        else:
            self._torch.save(self.state(), path)


class BusyTraining:
    engine = "a loop in Python"

    def __init__(self, size: int, *, isdir: bool) -> None:
        self._weights = bytearray(max(2 * FILE_BYTES, size // FILE_BYTES * FILE_BYTES))
        self._isdir = isdir
        self._distance = FILE_BYTES if isdir else STAMP_EVERY
        self.stamps = len(range(0, len(self._weights), self._distance))

    def step(self) -> None:
        total = 0
        for index in range(200_000):
            total += index & 7

    def stamp(self, number: int) -> None:
        stamp = _MARK_BYTES + struct.pack("<f", number)
        for start in range(0, len(self._weights), self._distance):
            self._weights[start : start + len(stamp)] = stamp

    def save(self, path: Path) -> None:
        if self._isdir:
            _save_files(path, memoryview(self._weights))
        else:
            path.write_bytes(self._weights)


def _save_files(path: Path, weights: memoryview) -> None:
    for index, start in enumerate(range(0, len(weights), FILE_BYTES)):
        directory = path / f"{index // _FILES_A_DIRECTORY:03}"
        if index % _FILES_A_DIRECTORY == 0:
            directory.mkdir(parents=True, exist_ok=True)
        with open(directory / f"{index:05}.bin", "wb", buffering=0) as file:
            file.write(weights[start : start + FILE_BYTES])


def judge(stored: Iterable[Path], number: int, stamps: int) -> str:
    """Return "right", "torn", "wrong" or "none": what the logged files of a checkpoint hold."""
    found = Counter(each for path in stored for each in _numbers(path))
    if not found:
        return "none"
    if len(found) > 1 or found.total() != stamps:
        return "torn"
    return "right" if number in found else "wrong"


def _numbers(path: Path) -> Iterator[int]:
    """Yield the number of each stamp in a file."""
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(_MARK_BYTES)
        while at >= 0 and at + len(_MARK_BYTES) + 4 <= len(data):
            (number,) = struct.unpack_from("<f", data, at + len(_MARK_BYTES))
            yield round(number)
            at = data.find(_MARK_BYTES, at + len(_MARK_BYTES))
