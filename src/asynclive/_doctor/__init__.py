"""``asynclive doctor``: looks, and changes nothing. Start with ``diagnosis``.

- ``diagnosis``: finds what is wrong with a repository
- ``file_systems``: type, mount point and free space under a path
- ``lock_holders``: which processes hold DVC's locks
"""
