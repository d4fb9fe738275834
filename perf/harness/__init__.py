"""The frame that every bench runs in: options, turns, repositories, child processes, results.

Nothing here imports a bench, a side or the report.
"""
