"""isolation="process": the same engine in a worker process. Start with ``process_engine``.

- ``process_engine``: the engine that hands calls to a worker process
- ``worker_lifecycle``: starts the worker, and another one after it was killed
- ``start_worker``: launches a fresh interpreter with sockets to it
- ``worker_watch``: decides whether the worker still answers while the block is left
- ``worker_main``: the worker process: runs a session for the parent
- ``channel``: pickled messages over a socket pair, without blocking the loop
- ``messages``: the message types, both ways
- ``portable_errors``: errors and their causes in a form that pickles
- ``log_forwarding``: log records of the worker, handled by the parent
- ``live_proxy``: a dvclive.Live in the parent, for a worker that writes dvc.yaml
"""
