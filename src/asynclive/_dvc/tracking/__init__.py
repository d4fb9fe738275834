"""Commits a group with DVC's own classes. Start with ``committer``.

- ``committer``: tracks a group; each artifact is atomic
- ``commit_undo``: the steps of a commit, as data that takes it back
- ``dvc_outputs``: makes DVC's Output, fills in its hash, hides it from Git
- ``legacy_outputs``: keeps unchanged outputs of DVC 2 as they are
- ``dvc_file_writer``: writes .dvc files: a temp file, then a rename
- ``git_staging``: core.autostage: adds a group to Git's index, whose lock may be held
- ``gitignore_lines``: adds DVC's lines to .gitignore, and removes them again
- ``dvc_state``: writes hashes into DVC's state database, and keeps it open
- ``fsync_committed``: durable=True: waits until a commit is on disk
"""
