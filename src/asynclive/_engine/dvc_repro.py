"""Inside ``dvc repro`` a stage's outputs are the pipeline's to track; DVCLive's wording. No I/O."""

from __future__ import annotations

import os
from dataclasses import replace
from logging import getLogger

from .._artifact.request import ArtifactRequest

logger = getLogger(__name__)


def left_to_pipeline(
    request: ArtifactRequest, root: str, owner: tuple[str, bool] | None
) -> ArtifactRequest:
    """What is left to log of an artifact that belongs to a pipeline; says it in the log.

    Args:
        request: what is to be logged.
        root: where relative paths start.
        owner: the address of the stage that has the path as its output, and whether it has a
            command.
    """
    shown = request.path.removeprefix(root + os.sep) if request.copy else request.given
    if not owner:
        logger.warning(
            "To track '%s' automatically in the DVC pipeline, add it as an output of the "
            "pipeline stage.",
            shown,
        )
        return request
    address, has_command = owner
    if not has_command:
        logger.warning(
            "To track '%s' automatically in the DVC pipeline:"
            "\n1. Run `dvc remove %s` to stop tracking it outside the pipeline."
            "\n2. Add it as an output of the pipeline stage.",
            shown,
            address,
        )
        return request
    logger.info(
        "Skipping `dvc add %s` because it is already being tracked automatically as an "
        "output of the DVC pipeline.",
        shown,
    )
    return replace(request, cache=False)
