"""``asynclive doctor``: examines a repository, changes nothing. Start with ``diagnosis``.

- ``diagnosis``: finds the problems of a repository
- ``file_systems``: type, mount point and free space under a path
- ``remote_check``: looks into a remote for the objects that DVC tracks
- ``lock_holders``: which processes hold DVC's locks
"""
