"""File system primitives. They know nothing of asynclive.

- ``paths``: is_inside, relocated, is_utf8; no I/O
- ``file_io``: small files in few system calls; few imports
- ``fsync``: Sync waits for the disk, or does nothing
- ``safe_open``: opens a directory without following symlinks that are swapped in
- ``atomic_rename``: exchanges two paths; renames without replacing; notes for recovery
- ``remove_tree``: removes our own files, write-protected or not
- ``kernel_copy``: reflink, copy_file_range, positional reads
- ``change_detection``: has a file changed, and could it change without another mtime
- ``free_space``: refuses a file that cannot fit, before its first byte
- ``file_lock``: a lock among threads and processes, reentrant
"""
