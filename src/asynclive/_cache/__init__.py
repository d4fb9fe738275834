"""The DVC cache on disk, and cached hashes of earlier runs. Start with ``object_store``.

- ``cache_layout``: CacheLayout: directories, modes and link types of this cache
- ``object_store``: ObjectStore: temp file, hash, publish by rename
- ``link_types``: cache.type: reflink, hardlink, symlink or copy
- ``hash_cache``: HashCache: MD5s of files that were logged before, by stat record
- ``hash_cache_file``: the file that holds the MD5s of one artifact
- ``remote_proofs``: which objects of a remote directory were read and had the right bytes
- ``find_unchanged``: tells whether an artifact needs neither reading nor copying
"""
