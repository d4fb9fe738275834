"""Events, progress samples, counters, spans. Start with ``events``.

- ``events``: the event records
- ``event_hub``: delivers events to callbacks and iterators
- ``sampler``: samples the progress of staging ten times a second
- ``staging_progress``: bytes and files of one artifact that are staged so far
- ``statistics``: counters, and AsyncLiveStatistics
- ``tracing``: OpenTelemetry spans
"""
