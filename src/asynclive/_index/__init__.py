"""The paths that DVC tracks, kept up to date. Imports no DVC. Start with ``workspace_index``.

- ``workspace_index``: the index of tracked outputs, updated by the changes in the workspace
- ``tracked_outputs``: outputs by path: finds the owner of a path, and refuses overlaps
- ``dvc_rules``: asks DVC which names are hidden, which are DVC files, and what they declare
- ``dvc_file_reader``: reads .dvc files in DVC's own layout without a YAML parser
- ``dvc_file_text``: writes .dvc files from a template that DVC wrote once
- ``directory_watch``: the Watch protocol, and a watch that finds changes by stat
- ``inotify``: a watch that gets changes from the kernel
- ``directory_listing``: lists the names in a directory that DVC reads
- ``gitignore_rules``: which names .gitignore hides, at constant cost
- ``git_index``: which paths Git tracks
"""
