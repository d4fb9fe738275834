"""The records that an artifact is handed forward in; no I/O. Start with ``request``.

- ``request``: ArtifactRequest, and how the arguments of one call become one
- ``metadata``: checks and copies names, texts, labels and meta
- ``plan``: ArtifactPlan: the files and directories to stage
- ``placement``: Placement: the moves and modes that wait to be applied to the workspace
- ``records``: StagedArtifact -> TrackedArtifact -> LoggedArtifact
"""
