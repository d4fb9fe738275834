"""The user's working tree, and our temp files next to it. All of it blocks.

- ``path_aliases``: finds the name in the repository of a path that leads there
- ``source_scan``: reads a path as ``dvc add`` sees it -> ArtifactPlan
- ``apply_placement``: applies a Placement, and undoes it
- ``moved_source``: move=True: the source in a temp path until it is logged, and back
- ``replace_in_place``: replaces paths that cannot be renamed: other disks, mount points
- ``temp_session``: the temp directories of a session, and its lock
- ``temp_directory``: a temp directory in a place that is shared with other repositories
- ``session_owner``: which process owns a session, and whether it has certainly ended
- ``heartbeat``: shows other hosts that a session runs
- ``crash_recovery``: finds and removes the files that killed sessions left
"""
