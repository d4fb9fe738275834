"""The ways to log, and the other tools, that the benches compare: one a file."""
