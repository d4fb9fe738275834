"""isolation="process": the same engine in a worker process."""
