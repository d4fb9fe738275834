"""The pushes of one session, and the thread that sends.

- ``artifact_pushes``: ArtifactPushes: takes pushes from their request to their outcome
- ``make_pusher``: make_pusher(): the pusher of a session, with a store for each kind of remote
- ``push_service``: PushService: sends units to their remotes
- ``push_thread``: PushThread: an event loop of asyncio in a thread, which does the sending
"""
