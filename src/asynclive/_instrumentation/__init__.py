"""Events, progress samples, counters, spans. Start with ``events``.

- ``events``: the event records
- ``event_hub``: delivers events to callbacks and iterators
- ``sampler``: samples the staging progress ten times a second
- ``staging_progress``: counts the bytes and files of one artifact that are staged so far
- ``statistics``: counters, and AsyncLiveStatistics
- ``tracing``: OpenTelemetry spans
- ``push_progress``: PushCounts: how much of a push is done
"""
