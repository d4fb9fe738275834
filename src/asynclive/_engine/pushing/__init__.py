"""The pushes of one session, and the thread that sends.

- ``artifact_pushes``: ArtifactPushes: takes pushes from their request to their outcome
- ``make_pusher``: make_pusher(): the pusher of a session, with a store for each kind of remote
- ``pending_pushes``: PendingPushes: a file for each artifact that is not pushed yet
- ``push_room``: PushRoom: a bound on the artifacts that are not pushed yet
- ``push_service``: PushService: sends units to their remotes
- ``push_thread``: PushThread: an event loop of asyncio in a thread, which does the sending
"""
