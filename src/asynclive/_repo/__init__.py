"""The one package that imports DVC. Synchronous; called in one worker thread at a time.

DVC's classes write DVC's files. What asynclive does itself is the work that needs no lock,
before (the bytes are in the cache) and the questions that DVC can only answer for all
targets at once (who overlaps, what Git tracks). It follows ``dvc.repo.add`` and
``dvc.output.Output.add``, whose order of events it keeps.
"""

from __future__ import annotations

from .errors import outside_repository
from .facts import RepositoryFacts, look_at_repository, working_links
from .lock import in_dvc
from .repository import DvcRepository

__all__ = [
    "DvcRepository",
    "RepositoryFacts",
    "in_dvc",
    "look_at_repository",
    "outside_repository",
    "working_links",
]
