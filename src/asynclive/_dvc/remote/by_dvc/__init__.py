"""Sends to the remotes that only DVC's own classes can use. Start with ``open_dvc_store``.

- ``open_dvc_store``: opens the store of such a remote
- ``dvc_store``: DvcStore: sends by DVC's own classes, in threads
- ``object_database``: ObjectDatabase: the objects of a remote, by DVC's own classes
- ``versioned_store``: VersionedDvcStore: a remote in which files lie under their paths
- ``record_versions``: writes the versions of such files into ``.dvc`` files
- ``byte_counter``: ByteCounter: counts the bytes of one transfer, and can stop it
"""
