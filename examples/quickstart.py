import asyncio
from pathlib import Path

from asynclive import AsyncLive


async def main() -> None:
    async with AsyncLive() as live:
        logged = await live.log_artifact(
            "model.pt",
            type="model",
            name="mymodel",
            desc="Fine-tuned Resnet50",
            labels=["resnet", "imagenet"],
        )
    print(logged.name, logged.md5, logged.size, logged.dvc_file)


Path("model.pt").write_bytes(bytes(1_000_000))  # stands for your model
asyncio.run(main())
