"""The benches: one question a file, and the registry that names them all.

A bench imports ``perf.sides`` and ``perf.harness``, and never another bench. Its file ends with
``BENCH``, the one instance of its class. A new file is added to ``NAMES``.
"""

from __future__ import annotations

import importlib

from perf.harness.bench import Bench

# In the order in which ``python -m perf all`` runs them: a run that is interrupted has answered
# the most important questions.
NAMES = (
    "workloads",
    "scaling",
    "many_processes",
    "loop_lag",
    "import_time",
    "memory",
    "reflink",
    "large_in_flight",
    "workers",
    "durable",
    "cancel_latency",
    "command_line",
    "dvc_status",
    "isolation",
    "events",
    "push",
    "training_stall",
    "chunk_size",
)


def load(name: str) -> Bench:
    """Import one bench. The others stay out of the process, whose memory may be measured."""
    bench: Bench = importlib.import_module(f"perf.benches.{name}").BENCH
    return bench
