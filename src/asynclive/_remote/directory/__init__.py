"""The files of a directory that is a remote. All of it blocks, and runs in worker threads.

- ``object_directory``: ObjectDirectory: looks at objects, reads them, and gives them their names
- ``object_copy``: ObjectCopy: copies one object into a temp file, and hashes that
"""
