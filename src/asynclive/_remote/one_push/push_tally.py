"""PushTally: counts what one push sends, skips and proves, over all its remotes."""

from __future__ import annotations

from typing import get_args

from ..._artifact.push_records import PushObject, VerifiedBy
from ..._instrumentation.push_progress import PushCounts

# The strongest first.
_PROOFS: tuple[VerifiedBy, ...] = get_args(VerifiedBy)


class PushTally:
    """The counts of one push.

    Args:
        counts: gets the progress.
    """

    def __init__(self, counts: PushCounts) -> None:
        self._counts = counts
        self._done = 0
        self._done_bytes = 0
        self._proofs: set[VerifiedBy] = set()
        self.sent = 0
        self.sent_bytes = 0
        self.skipped = 0
        self.resumed_bytes = 0

    def add_progress(self, size: int) -> None:
        """Count bytes of an object that is being sent. Negative: they do not count any more."""
        self._done_bytes += size
        self._counts.set_counts(self._done, self._done_bytes)

    def add_sent(self, obj: PushObject, proof: VerifiedBy, resumed_bytes: int) -> None:
        """Count an object that this push has sent, and that is proven."""
        self.sent += 1
        self.sent_bytes += obj.known_size
        self.resumed_bytes += resumed_bytes
        self._add_proven(obj, proof)

    def add_skipped(self, obj: PushObject, proof: VerifiedBy) -> None:
        """Count an object that is proven, and that this push did not send."""
        self.skipped += 1
        self._add_proven(obj, proof)

    def _add_proven(self, obj: PushObject, proof: VerifiedBy) -> None:
        self._proofs.add(proof)
        self._done += 1
        self.add_progress(obj.known_size)

    @property
    def weakest_proof(self) -> VerifiedBy:
        """The weakest proof of all. If there is no object, nothing is claimed but sizes."""
        return max(self._proofs, key=_PROOFS.index, default="size")
