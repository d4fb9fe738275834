"""Inside ``dvc repro``: leaves the outputs of the stage to the pipeline. No I/O.

The messages are worded as in DVCLive.
"""

from __future__ import annotations

import os
from dataclasses import replace
from logging import getLogger

from .._artifact.request import ArtifactRequest

logger = getLogger(__name__)


def leave_to_stage(
    request: ArtifactRequest, root: str, owner: tuple[str, bool] | None
) -> ArtifactRequest:
    """Return the request, changed to skip ``dvc add`` if a pipeline stage tracks the path.

    Args:
        request: the artifact to log.
        root: the directory in which relative paths start.
        owner: the address of the stage whose output the path is, and whether the stage has a
            command; None: there is no such stage.
    """
    displayed_path = request.path.removeprefix(root + os.sep) if request.copy else request.given
    if not owner:
        logger.warning(
            "To track '%s' automatically in the DVC pipeline, add it as an output of the "
            "pipeline stage.",
            displayed_path,
        )
        return request
    address, has_command = owner
    if not has_command:
        logger.warning(
            "To track '%s' automatically in the DVC pipeline:"
            "\n1. Run `dvc remove %s` to stop tracking it outside the pipeline."
            "\n2. Add it as an output of the pipeline stage.",
            displayed_path,
            address,
        )
        return request
    logger.info(
        "Skipping `dvc add %s` because it is already being tracked automatically as an "
        "output of the DVC pipeline.",
        displayed_path,
    )
    return replace(request, cache=False)
