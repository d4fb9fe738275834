"""The way of one push to one remote. Start with ``remote_push``.

- ``remote_push``: RemotePush: looks for the objects, sends and proves them, the listings last
- ``versioned_push``: VersionedPush: the same for a remote in which files lie under their paths
- ``objects_in_flight``: ObjectsInFlight: sends an object once, if several pushes need it
- ``push_tally``: PushTally: counts what one push sends, skips and proves
"""
