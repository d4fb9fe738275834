"""Object storage by obstore: S3, Google Cloud Storage and Azure. Start with ``object_storage``.

- ``object_storage``: ObjectStorage: finds, sends, proves and reads back objects
- ``object_proofs``: ObjectProofs: proves objects by their sizes, ETags and checksums
- ``object_search``: looks for objects by HEAD, or by pages of a listing that skip ahead
- ``known_etags``: KnownEtags: the ETags of the objects in parts whose bytes were compared
- ``retried_requests``: RetriedRequests: a request with its permit, time limit and tries
- ``whole_file``: sends a large file to Google Cloud Storage or Azure
- ``store_access``: StoreAccess: the store of obstore, opened again with new credentials or region
- ``store_arguments``: DVC's options of a remote, as arguments of obstore
- ``obstore_errors``: reads the errors of obstore
- ``refusal_advice``: the refusals of Google Cloud Storage and Azure
"""
