"""One artifact: plan it, copy and hash it, clean up after it. Start with ``stager``.

- ``source``: scans the source, or moves it to a temp path, in worker threads
- ``stager``: Stager: stages artifacts concurrently
- ``stage_job``: one artifact being staged: its steps and their order
- ``step_runner``: runs the steps of an artifact in worker threads, fairly to others
- ``large_files``: the large files of one artifact, and snapshots of them
- ``fsync_staged``: durable=True: what must be on disk before the commit
- ``restore_objects``: stores objects again that `dvc gc` removed before the commit
- ``deferred_removal``: removes temp files; slow removals after the caller was notified
"""
