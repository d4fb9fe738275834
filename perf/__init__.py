"""Measure asynclive: ``python -m perf NAME``; ``perf/README.md`` says how."""
