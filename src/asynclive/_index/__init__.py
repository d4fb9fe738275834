"""The paths that DVC tracks, kept up to date. Imports no DVC. Start with ``workspace_index``.

- ``workspace_index``: all that DVC tracks, updated by what changed
- ``tracked_outputs``: outputs by path: the owner of a path, and overlaps
- ``dvc_rules``: what DVC makes of a name: ignored, a DVC file, what it declares
- ``dvc_file_reader``: reads .dvc files that are laid out as DVC writes them, without YAML
- ``dvc_file_text``: the text of .dvc files, from a template that DVC wrote once
- ``directory_watch``: the Watch protocol, and changes found by stat
- ``inotify``: changes as the kernel reports them
- ``directory_listing``: the names in a directory that concern DVC
- ``gitignore_rules``: what .gitignore hides, at constant cost
- ``git_index``: which paths Git tracks
"""
