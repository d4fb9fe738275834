"""Log checkpoints from code that is not async: a loop of one's own, and a trainer's callbacks.

    python examples/sync_loop.py               # in a Git repository with DVC in it

The two callbacks have the methods that Lightning and Transformers call, and work with them as
they are (derive them from ``lightning.pytorch.loggers.Logger`` and
``transformers.TrainerCallback``); here, small trainers stand in for both.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asynclive import AsyncLive, BlockingHandle, BlockingLive


def train(live: BlockingLive) -> list[BlockingHandle]:
    """A loop of one's own: it goes on as soon as the checkpoint may be overwritten."""
    weights, handles = random.Random(0), []
    path = Path("loop.ckpt")
    for step in range(1, 31):
        state = weights.randbytes(100_000)  # stands for a step
        if step % 10 == 0:
            path.write_bytes(state)
            handles.append(live.submit(path, type="model", meta={"step": step}))
    return handles


class LightningLogger:
    """Lightning calls this after each checkpoint that a ModelCheckpoint has written."""

    def __init__(self, live: BlockingLive) -> None:
        self.live = live

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        # With ModelCheckpoint(save_last=True): the next checkpoint overwrites it.
        self.live.submit(checkpoint_callback.last_model_path, type="model", name="lightning")


class TransformersCallback:
    """Transformers calls this after each checkpoint, a directory, that its Trainer has written."""

    def __init__(self, live: BlockingLive) -> None:
        self.live = live

    def on_save(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        path = Path(args.output_dir, f"checkpoint-{state.global_step}")
        # Each has another path, and save_total_limit deletes older ones: so a copy is tracked.
        self.live.submit(path, type="model", name="transformers", copy="transformers")


def fit_as_lightning_does(logger: LightningLogger) -> None:
    path = Path("lightning/last.ckpt")
    path.parent.mkdir()
    for epoch in range(3):
        path.write_text(f"weights of epoch {epoch}")
        logger.after_save_checkpoint(SimpleNamespace(last_model_path=str(path)))


def train_as_transformers_does(callback: TransformersCallback) -> None:
    args = SimpleNamespace(output_dir="transformers")
    for step in (100, 200, 300):
        directory = Path(args.output_dir, f"checkpoint-{step}")
        directory.mkdir(parents=True)
        (directory / "model.safetensors").write_text(f"weights of step {step}")
        (directory / "trainer_state.json").write_text(f'{{"global_step": {step}}}')
        callback.on_save(args, SimpleNamespace(global_step=step), SimpleNamespace(), model=None)
        shutil.rmtree(directory)  # as with save_total_limit


def main() -> None:
    # Leaving the block waits for what is in flight, and raises what went wrong and nobody has
    # asked for.
    with AsyncLive.blocking() as live:
        handles = train(live)
        fit_as_lightning_does(LightningLogger(live))
        train_as_transformers_does(TransformersCallback(live))
        for handle in handles:
            logged = handle.result(timeout=60)
            print(f"{logged.meta}  {logged.size:,} bytes  {logged.md5}")
    print(f"{live.statistics().logged} checkpoints logged")


if __name__ == "__main__":
    main()
