"""Calls in flight: order, back-pressure, completion, notification. Start with ``call``.

- ``call``: Call: one artifact in flight; its stage, outcome and waiters
- ``handle``: ArtifactHandle: what submit() returns
- ``home_loop``: HomeLoop: the event loop in which an object and its handles work
- ``conflicts``: which calls may not run together, and which come first
- ``back_pressure``: max_pending, max_pending_bytes: wait for a slot, then for bytes
- ``push``: Push: one push in flight; its stage, outcome and waiters
- ``drain``: drain(): finish what fits into a deadline, cancel the rest
- ``session_pushes``: SessionPushes: the pushes of a session, counted and observed
- ``unawaited_errors``: errors of handles that were never awaited
- ``observer``: turns stage changes of calls into events and spans
"""
