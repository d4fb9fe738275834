"""Push each checkpoint to a DVC remote while the training goes on.

    dvc remote add --default storage ../storage   # a directory; or a bucket, s3://...
    python examples/push_checkpoints.py           # in a Git repository with DVC

A push that fails undoes nothing: the checkpoint stays logged, and ``asynclive push`` goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from asynclive import ArtifactHandle, AsyncLive, PushError

CHECKPOINT = Path("pushed.ckpt")


async def main(steps: int) -> None:
    handles: list[ArtifactHandle] = []
    async with AsyncLive(push=True) as live:
        for step in range(steps):
            await asyncio.sleep(0.02)  # stands for training
            await asyncio.to_thread(CHECKPOINT.write_bytes, os.urandom(1_000_000))
            handles.append(await live.submit(CHECKPOINT, type="model", meta={"step": step}))
        for handle in handles:
            logged = await handle
            try:
                result = await handle.pushed()
            except PushError as error:
                print(f"{logged.md5} is logged, but not pushed: {error}")
            else:
                print(f"{logged.md5} pushed to {result.remote}, verified by {result.verified_by}")
    print(f"{live.statistics().objects_pushed} objects sent in total")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=5, help="number of checkpoints")
    asyncio.run(main(parser.parse_args().steps))
