"""One file: its bytes into the cache, and the file that the workspace gets. All of it blocks.

- ``small_files``: reads, hashes and stores small files in batches
- ``workspace_files``: what the workspace gets of a stored file: the same, a copy or a link
- ``os_errors``: OSErrors as the errors that the caller gets
- ``copy_and_hash``: copies and hashes one large file, in steps, in two threads
- ``batch_processes``: a pool of processes for directories of very many small files
- ``batch_worker``: the program of such a process: hashes and stores small files, few imports
- ``batch_fallback``: every other case in such a process, by FileStager
- ``batch_pipe``: the framing of the messages to such a process
"""
