"""Train a small model with PyTorch on asyncio, and log a checkpoint every few steps.

    python examples/train_async.py             # in a Git repository with DVC

Needs PyTorch and DVCLive. Each step runs in a thread, so that the event loop stays free. All
checkpoints have the same path. ``submit`` returns as soon as the bytes are safe, and they are
hashed and committed while the next steps run. DVCLive logs the metrics. With ``live=``, both
write into one ``dvc.yaml``, and neither drops the entries of the other.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import torch
from dvclive import Live
from torch import nn

from asynclive import ArtifactHandle, AsyncLive

CHECKPOINT = Path("checkpoint.pt")


class Training:
    """Learn the sine function. This stands for your training."""

    def __init__(self, metrics: Live) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.metrics = metrics

    def step(self) -> float:
        x = 6.0 * torch.rand(256, 1) - 3.0
        loss = nn.functional.mse_loss(self.model(x), torch.sin(x))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        value: float = loss.item()
        self.metrics.log_metric("train/loss", value)
        self.metrics.next_step()
        return value

    def save(self, path: Path) -> None:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(state, path)


async def train(steps: int, every: int) -> list[ArtifactHandle]:
    handles = []
    with Live("dvclive", save_dvc_exp=False) as metrics:
        training = Training(metrics)
        async with AsyncLive(live=metrics) as live:
            for step in range(1, steps + 1):
                loss = await asyncio.to_thread(training.step)
                if step % every == 0:
                    await asyncio.to_thread(training.save, CHECKPOINT)
                    handle = await live.submit(
                        CHECKPOINT, type="model", name="sine", meta={"step": step, "loss": loss}
                    )
                    handles.append(handle)
    return handles


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--every", type=int, default=20, help="steps between two checkpoints")
    args = parser.parse_args()
    for handle in await train(args.steps, args.every):
        logged = await handle
        print(f"{logged.meta}  {logged.size:,} bytes  {logged.md5}")


if __name__ == "__main__":
    asyncio.run(main())
