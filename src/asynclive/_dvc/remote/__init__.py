"""Remotes as DVC configures them, outputs to push, DVC's own way to send.

- ``remote_description``: a remote of DVC's configuration
- ``push_outputs``: PushOutputs: which outputs a push sends, and to which remote
- ``listed_objects``: the objects that the listing of a directory names
- ``artifact_names``: the path of an artifact by its name in dvc.yaml
- ``dvc_store``: DvcStore: sends by DVC's own classes, in threads
- ``object_database``: ObjectDatabase: the objects of a remote, by DVC's own classes
- ``open_dvc_store``: opens the store of a remote that only DVC's own classes can use
- ``versioned_store``: VersionedDvcStore: a remote in which files lie under their paths
- ``record_versions``: writes the versions of such files into ``.dvc`` files
- ``byte_counter``: ByteCounter: counts the bytes of one transfer, and can stop it
"""
