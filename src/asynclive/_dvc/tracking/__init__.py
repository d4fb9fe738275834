"""Commits a group with DVC's own classes. Start with ``committer``.

- ``committer``: tracks a group: each artifact all or nothing
- ``commit_undo``: the steps of a commit, as data that takes it back
- ``dvc_outputs``: DVC's Output: made, given its hash, hidden from Git
- ``dvc_file_writer``: writes .dvc files by replacement
- ``gitignore_lines``: DVC's lines in .gitignore: added, and taken back
- ``dvc_state``: DVC's state database: told of hashes, held open
- ``fsync_committed``: durable=True: the changes of a commit, on disk
"""
