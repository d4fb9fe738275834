"""Worker threads, their priorities, and fairness between them. Start with ``file_workers``.

- ``file_workers``: the bounded worker threads, in two lanes
- ``thread_start``: runs a function in a thread, also where the system refuses another one
- ``processors``: how many processors this process may use
- ``fairness``: scheduling order: awaited work first, small artifacts before large
- ``os_priority``: niceness and time slices of worker processes
- ``helper_process``: starts other interpreters, and finds out whether they run
- ``shared_hops``: runs short functions in threads, several in one hop
- ``bounded_gather``: runs jobs, at most a given number at a time; the first error stops all
"""
