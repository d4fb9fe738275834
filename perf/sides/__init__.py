"""The ways to log, and other tools, that the benches compare."""
