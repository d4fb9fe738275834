"""Log checkpoints from code that is not async: your own loop, and the callbacks of a trainer.

    python examples/sync_loop.py               # in a Git repository with DVC

The two callback classes have the methods that Lightning and Transformers call. To use them,
derive them from ``lightning.pytorch.loggers.Logger`` and ``transformers.TrainerCallback``. In this
program, small functions stand for the trainers.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asynclive import AsyncLive, BlockingHandle, BlockingLive


def train(live: BlockingLive) -> list[BlockingHandle]:
    """Train in your own loop, which continues as soon as the checkpoint may be overwritten."""
    weights, handles = random.Random(0), []
    path = Path("loop.ckpt")
    for step in range(1, 31):
        state = weights.randbytes(100_000)  # stands for a step
        if step % 10 == 0:
            path.write_bytes(state)
            handles.append(live.submit(path, type="model", meta={"step": step}))
    return handles


class LightningLogger:
    """Log each checkpoint that a ModelCheckpoint of Lightning has written."""

    def __init__(self, live: BlockingLive) -> None:
        self.live = live

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        # The next checkpoint overwrites this path, if ModelCheckpoint has save_last=True.
        self.live.submit(checkpoint_callback.last_model_path, type="model", name="lightning")


class TransformersCallback:
    """Log each checkpoint directory that a Trainer of Transformers has written."""

    def __init__(self, live: BlockingLive) -> None:
        self.live = live

    def on_save(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        path = Path(args.output_dir, f"checkpoint-{state.global_step}")
        # Track a copy: each checkpoint has its own path, and save_total_limit deletes old ones.
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
    # The end of the block waits for the artifacts in flight. It raises the errors of handles whose
    # result was not asked for.
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
