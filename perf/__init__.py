"""Measure asynclive and its alternatives: ``python -m perf NAME``.

``benches`` holds one question a file. ``sides`` holds the ways to log that are compared.
``harness`` holds the frame that every bench runs in. ``report`` makes tables and pictures from
``results``.
``README.md`` in this directory explains the method and the commands.
"""
