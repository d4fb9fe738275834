"""``asynclive doctor``: examines a repository, changes nothing. Start with ``diagnosis``.

- ``diagnosis``: finds the problems of a repository
- ``file_systems``: type, mount point and free space under a path
- ``lock_holders``: which processes hold DVC's locks
"""
