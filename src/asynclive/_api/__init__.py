"""The objects that users hold: the async face and the blocking one.

- ``async_live``: AsyncLive: what users call, on asyncio and trio
- ``blocking_live``: BlockingLive and BlockingHandle: the same for code that is not async
- ``loop_thread``: an event loop in its own thread, and how other threads call into it
- ``interpreter_exit``: finishes the blocks that are still open when the program ends
- ``engine_choice``: isolation= and ASYNCLIVE_ISOLATION: which engine a session gets
"""
