"""The records an artifact is handed forward in; no I/O."""
