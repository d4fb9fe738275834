"""Events, progress samples, counters, spans."""
